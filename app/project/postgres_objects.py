"""What migrations create on PostgreSQL alone: triggers, and indexes that no model declares.

Alembic drops it with its table, and does not know how to create it again.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import sqlalchemy as sa
from alembic.command import upgrade
from alembic.config import Config

CREATE = re.compile(
    r"CREATE (?:OR REPLACE )?(?:UNIQUE )?(INDEX|TRIGGER|FUNCTION)"
    r" (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(\w+)"
)
DROP = re.compile(r"DROP (INDEX|TRIGGER|FUNCTION|TABLE) (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)")
TABLE = re.compile(r"\sON (\w+)")
EXECUTED = re.compile(r"EXECUTE (?:FUNCTION|PROCEDURE) (\w+)")


@dataclass(frozen=True)
class PostgresObject:
    kind: str
    name: str
    statement: str

    @property
    def table(self) -> str | None:
        """Return the table of an index or a trigger. A function has none."""
        match = None if self.kind == "FUNCTION" else TABLE.search(self.statement)
        return match and match[1]


class StatementList(StringIO):
    """An output for Alembic, which writes one statement at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.statements = list[str]()

    def write(self, text: str) -> int:
        self.statements.append(text.rstrip(";\n"))
        return len(text)


def read_statements(root: Path) -> list[str]:
    """Return the statements of all migrations for PostgreSQL, which is not asked."""
    output = StatementList()
    upgrade(Config(toml_file=root / "pyproject.toml", output_buffer=output), "head", sql=True)
    return output.statements


def objects_of(statements: Iterable[str], tables: Collection[sa.Table]) -> list[PostgresObject]:
    """Return what goes with the tables, without the indexes that their models declare.

    A function goes with the tables if only their triggers execute it.
    """
    declared = {str(index.name) for table in tables for index in table.indexes}
    names = {table.name for table in tables}
    objects = [each for each in existing(statements) if each.name not in declared]
    functions = executed(each for each in objects if each.table in names)
    functions -= executed(each for each in objects if each.table not in names)
    return [
        each
        for each in objects
        if (each.name in functions if each.kind == "FUNCTION" else each.table in names)
    ]


def existing(statements: Iterable[str]) -> Collection[PostgresObject]:
    """Return what the statements create and do not drop again."""
    objects = dict[tuple[str, str], PostgresObject]()
    for statement in statements:
        if match := CREATE.match(statement):
            objects[match[1], match[2]] = PostgresObject(match[1], match[2], statement)
        elif match := DROP.match(statement):
            dropped = {key for key, each in objects.items() if each.table == match[2]}
            for key in dropped if match[1] == "TABLE" else {(match[1], match[2])}:
                objects.pop(key, None)
    return objects.values()


def executed(objects: Iterable[PostgresObject]) -> set[str]:
    """Return the functions that the triggers among the objects execute."""
    return {name for each in objects for name in EXECUTED.findall(each.statement)}


def creations(objects: Sequence[PostgresObject]) -> list[str]:
    return [each.statement for each in objects]


def drops(objects: Sequence[PostgresObject]) -> list[str]:
    """Return the statements that drop the functions. The rest is dropped with its table."""
    functions = [each.name for each in objects if each.kind == "FUNCTION"]
    return [f"DROP FUNCTION IF EXISTS {name}()" for name in functions]
