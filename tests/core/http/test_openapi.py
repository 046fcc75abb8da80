from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query

from app.core.errors import AppError
from app.core.http.openapi import API, forbid_unknown_parameters
from app.core.http.problems import app_error
from tests.conftest import client_of

CHECKED = Depends(forbid_unknown_parameters)


async def get_tenant(tenant: str = "") -> str:
    return tenant


@pytest.fixture
def app() -> FastAPI:
    app = API()
    app.add_exception_handler(AppError, app_error)  # type: ignore[arg-type]  # Starlette's type expects any Exception.
    router = APIRouter()

    @router.get("/things")
    async def things(word: Annotated[str, Query(validation_alias="the-word")] = "") -> str:
        return word

    app.include_router(router, prefix="/one", dependencies=[CHECKED])
    app.include_router(router, prefix="/two", dependencies=[CHECKED, Depends(get_tenant)])
    app.router.add_api_route("/direct", things, dependencies=[CHECKED])
    return app


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/one/things?the-word=a", 200),
        ("/one/things?word=a", 422),
        ("/one/things?tenant=a", 422),
        ("/two/things?tenant=a&the-word=b", 200),
        ("/direct?the-word=a", 200),
        ("/direct?tenant=a", 422),
    ],
)
async def test_route_accepts_declared_parameters_only(app: FastAPI, url: str, status: int) -> None:
    async with client_of(app) as client:
        await client.get("/one/things?the-word=a")
        assert (await client.get(url)).status_code == status


def test_optional_parameters_are_not_documented_as_null() -> None:
    app = API()

    @app.get("/things")
    async def things(size: int | None = None, key: int | str | None = None) -> None: ...

    size, key = app.openapi()["paths"]["/things"]["get"]["parameters"]
    assert size["schema"] == {"title": "Size", "type": "integer"}
    assert key["schema"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert not size["required"]
