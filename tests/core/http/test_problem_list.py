"""The kinds of problems of a project without pages."""

import httpx
import pytest
from fastapi import FastAPI

from app.core.http import problem_list
from app.core.http.problem_kinds import KINDS
from app.core.http.problems import add_exception_handlers
from tests.conftest import client_of


@pytest.fixture
def problems() -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(problem_list.router)
    add_exception_handlers(app)
    return client_of(app)


async def test_list_has_all_kinds(problems: httpx.AsyncClient) -> None:
    kinds = (await problems.get("/problems")).json()
    assert [kind["type"] for kind in kinds] == [kind.type for kind in KINDS.values()]


async def test_problem_type_is_the_address_of_its_advice(problems: httpx.AsyncClient) -> None:
    kind = KINDS["stale-version"]
    assert (await problems.get(kind.type)).json()["advice"] == kind.advice


async def test_unknown_kind_returns_404(problems: httpx.AsyncClient) -> None:
    response = await problems.get("/problems/nothing")
    assert response.status_code == 404
    assert response.json()["type"] == KINDS["not-found"].type
