import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.docs import FOREIGN_LOGO

OPERATIONS = {
    "create_token", "revoke_token", "list_sessions", "delete_session",
    "request_password_reset", "reset_password", "verify_email", "resend_verification",
    "create_user", "read_current_user", "update_current_user", "delete_current_user",
    "change_password", "list_users", "read_user", "update_user", "delete_user",
    "create_item", "create_items", "list_items", "export_items", "read_item", "replace_item",
    "update_item", "delete_item", "read_liveness", "read_readiness",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_all_that_a_page_loads_is_on_this_server(
    client: httpx.AsyncClient, path: str
) -> None:
    page = await client.get(path)
    assert page.status_code == 200
    assert "https://" not in page.text
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) >= 2
    for link in links:
        assert not link.startswith(("http", "/"))
        asset = await client.get(f"/{link}")
        assert asset.status_code == 200, link
        assert FOREIGN_LOGO not in asset.content


def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    paths = app.openapi()["paths"].values()
    return {each["operationId"]: each for path in paths for each in path.values()}


async def test_every_operation_is_described(app: FastAPI) -> None:
    found = operations(app)
    assert set(found) == OPERATIONS
    schemas = app.openapi()["components"]["schemas"]
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        for status, response in operation["responses"].items():
            if status >= "400":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json", name
                assert response["content"][media_type]["example"]["status"] == int(status)
    for name in ("ItemCreate", "ItemRead", "UserCreate", "UserRead", "TokenRequest"):
        assert any("examples" in each for each in schemas[name]["properties"].values()), name
    assert not [name for name in schemas if "ValidationError" in name]


@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        ("create_item", {"201", "400", "401", "403", "409", "413", "415", "422", "500", "503"}),
        ("read_item", {"200", "304", "401", "403", "404", "422", "500", "503"}),
        ("delete_item", {"204", "401", "403", "404", "412", "422", "500", "503"}),
        ("create_token", {"200", "400", "413", "422", "429", "500", "503"}),
        ("create_user", {"201", "400", "403", "409", "413", "415", "422", "429", "500", "503"}),
        ("read_current_user", {"200", "401", "422", "500", "503"}),
        ("read_liveness", {"200", "500"}),
    ],
)
async def test_the_statuses_of_an_operation(
    app: FastAPI, operation: str, statuses: set[str]
) -> None:
    assert set(operations(app)[operation]["responses"]) == statuses


@pytest.mark.parametrize(
    ("operation", "status", "fields"),
    [
        ("create_item", "201", {"ETag", "Idempotency-Replayed", "Location"}),
        ("list_items", "200", {"Link"}),
        ("list_users", "200", {"Link"}),
        ("export_items", "200", {"Content-Disposition"}),
        ("read_item", "200", {"ETag"}),
        ("read_item", "304", {"ETag"}),
        ("delete_session", "204", set()),
        ("read_item", "401", {"WWW-Authenticate"}),
        ("read_item", "503", {"Retry-After"}),
        ("create_token", "429", {"RateLimit", "RateLimit-Policy", "Retry-After"}),
    ],
)
async def test_the_header_fields_of_an_answer(
    app: FastAPI, operation: str, status: str, fields: set[str]
) -> None:
    response = operations(app)[operation]["responses"][status]
    assert set(response["headers"]) == fields | {"X-Request-ID"}
    known = app.openapi()["components"]["headers"]
    for reference in response["headers"].values():
        assert known[reference["$ref"].rpartition("/")[2]]["example"]


async def test_authorize_knows_the_scopes(app: FastAPI) -> None:
    scheme = app.openapi()["components"]["securitySchemes"]["OAuth2"]
    flow = scheme["flows"]["password"]
    assert flow["tokenUrl"] == "/api/v1/auth/token"
    assert set(flow["scopes"]) == {"items:read", "items:write", "users:admin"}
    assert operations(app)["update_item"]["security"] == [{"OAuth2": ["items:write"]}]


async def test_the_document_is_made_once(app: FastAPI) -> None:
    assert app.openapi() is app.openapi()
