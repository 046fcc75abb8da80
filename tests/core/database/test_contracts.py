"""Tests that the undocumented names of libraries that app/core/database uses still exist."""

import ast
import inspect
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import bindparam, insert, select, util
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.util import concurrency

from app.accounts.models import User
from app.core import database

FILES = sorted(Path(database.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", [sqlite, postgresql.asyncpg])
def test_compiled_statement_has_the_attributes_that_queries_read(module: Any) -> None:
    dialect = module.dialect()
    statement = select(User.id, User.email).where(User.id == bindparam("id"), User.email == "x")
    compiled: Any = statement.compile(dialect=dialect)
    assert compiled.positiontup == ["id", "email_1"]
    binds = compiled.binds
    assert (binds["id"].required, binds["email_1"].value) == (True, "x")
    assert not binds["id"].expanding
    assert not binds["id"].literal_execute
    with_default: Any = insert(User).values(email="x").compile(dialect=dialect)
    assert "created_at" in {column.key for column in with_default.insert_prefetch}
    assert not compiled.update_prefetch


def test_sqlalchemy_has_the_functions_for_greenlets() -> None:
    assert concurrency.in_greenlet() is False
    assert list(inspect.signature(util.await_).parameters) == ["awaitable"]


def test_asyncpg_connection_takes_protocol_and_transport() -> None:
    parameters = list(inspect.signature(asyncpg.Connection.__init__).parameters)
    assert parameters[:3] == ["self", "protocol", "transport"]


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_private_names_of_other_objects_are_not_used(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            assert is_own or node.attr.startswith("__"), f"{file}:{node.lineno}: {node.attr}"
        if isinstance(node, ast.ImportFrom):
            assert not [name for name in node.names if name.name.startswith("_")]
