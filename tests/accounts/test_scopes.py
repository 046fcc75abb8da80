"""Tokens that were issued for a part of their user's scopes."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.accounts.steps import is_accepted, sign_in_to_api
from tests.conftest import PASSWORD, Person, browser_of, client_of, sign_in
from tests.slices import needs

ME = "/api/v1/users/me"
SESSIONS = "/api/v1/auth/sessions"
LAMP = {"name": "Lamp", "price": "19.99"}


async def token_with(client: httpx.AsyncClient, person: Person, scope: str) -> str:
    return str((await sign_in_to_api(client, person, scope=scope))["access_token"])


@needs("items")
@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("PATCH", ME, {"full_name": "Eve"}),
        ("DELETE", ME, {"current_password": PASSWORD}),
        ("POST", f"{ME}/password", {"current_password": PASSWORD, "new_password": "x" * 20}),
        ("GET", SESSIONS, None),
        ("DELETE", f"{SESSIONS}/00000000-0000-4000-8000-000000000000", None),
    ],
)
async def test_account_operation_without_the_scope_account_returns_403(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, method: str, url: str, body: Any
) -> None:
    async with client_of(app, await token_with(client, ann, "items:read")) as narrow:
        response = await narrow.request(method, url, json=body)
    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert "account" in response.json()["detail"]


@pytest.mark.parametrize(("body", "status"), [({"current_password": "wrong"}, 403), ({}, 422)])
async def test_account_deletion_without_the_password_is_refused(
    ann: Person, body: dict[str, str], status: int
) -> None:
    assert (await ann.client.request("DELETE", ME, json=body)).status_code == status
    assert (await ann.client.get(ME)).status_code == 200


@needs("pages.py")
@pytest.mark.parametrize("promoted", [True, False])
async def test_role_change_ends_every_session_of_the_user(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person, promoted: bool
) -> None:
    url = f"/api/v1/users/{ann.id}"
    if not promoted:
        await root.client.patch(url, json={"is_superuser": True})
    token = (await sign_in_to_api(client, ann))["access_token"]
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        same = {"is_superuser": not promoted}
        assert (await root.client.patch(url, json=same)).status_code == 200
        assert await is_accepted(app, token)
        assert (await root.client.patch(url, json={"is_superuser": promoted})).status_code == 200
        assert not await is_accepted(app, token)
        assert (await browser.get("/account")).status_code == 303


@needs("items")
async def test_superuser_without_items_all_sees_own_items_only(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person
) -> None:
    item = (await ann.client.post("/api/v1/items", json=LAMP)).json()
    url = f"/api/v1/items/{item['id']}"
    scope = "items:read items:write"
    async with client_of(app, await token_with(client, root, scope)) as narrow:
        assert (await narrow.get("/api/v1/items")).json()["results"] == []
        assert (await narrow.get(url)).status_code == 404
        assert (await narrow.patch(url, json={"name": "Desk"})).status_code == 404
        assert (await narrow.delete(url)).status_code == 404
        filtered = await narrow.get("/api/v1/items", params={"owner_id": ann.id})
        assert filtered.status_code == 403
    async with client_of(app, await token_with(client, root, f"{scope} items:all")) as wide:
        assert (await wide.get(url)).json()["name"] == "Lamp"


@needs("orders")
async def test_superuser_without_orders_all_sees_own_orders_only(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person
) -> None:
    order = (await ann.client.post("/api/v1/orders", json={"lines": []})).json()
    url = f"/api/v1/orders/{order['id']}"
    scope = "orders:read orders:write"
    async with client_of(app, await token_with(client, root, scope)) as narrow:
        assert (await narrow.get("/api/v1/orders")).json()["results"] == []
        assert (await narrow.get(url)).status_code == 404
        assert (await narrow.post(f"{url}/ship")).status_code == 403
    assert (await root.client.get(url)).status_code == 200


@needs("items")
async def test_scope_for_all_items_is_not_granted_to_a_user(
    client: httpx.AsyncClient, ann: Person
) -> None:
    form = {"grant_type": "password", "username": ann.email, "password": PASSWORD}
    response = await client.post("/api/v1/auth/token", data=form | {"scope": "items:all"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
