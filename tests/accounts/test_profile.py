import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.models import User
from app.accounts.service.passwords import AccountPasswords
from tests.accounts.steps import NEW_PASSWORD, is_accepted, refresh, sign_in_to_api
from tests.conftest import PASSWORD, Person, client_of, delete_account
from tests.slices import needs

ME = "/api/v1/users/me"


async def test_name_can_be_changed_and_removed(ann: Person) -> None:
    assert (await ann.client.patch(ME, json={"full_name": "Ann"})).json()["full_name"] == "Ann"
    assert (await ann.client.patch(ME, json={})).json()["full_name"] == "Ann"
    assert (await ann.client.patch(ME, json={"full_name": None})).json()["full_name"] is None


@pytest.mark.parametrize(
    "bad",
    [{"is_superuser": True}, {"is_active": False}, {"email": None}, {"full_name": "\x00"}],
    ids=str,
)
async def test_protected_field_returns_422(ann: Person, bad: dict[str, Any]) -> None:
    assert (await ann.client.patch(ME, json=bad)).status_code == 422


async def test_new_address_without_the_password_returns_403(ann: Person) -> None:
    for body in ({}, {"current_password": "wrong"}):
        response = await ann.client.patch(ME, json={"email": "new@example.com"} | body)
        assert response.status_code == 403
    body = {"email": "new@example.com", "current_password": PASSWORD}
    response = await ann.client.patch(ME, json=body)
    assert response.status_code == 200
    assert response.json()["email"] == ann.email  # until it is confirmed


async def test_password_change_ends_every_other_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    other = await sign_in_to_api(client, ann)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = await ann.client.post(f"{ME}/password", json=body)
    assert (response.status_code, response.content) == (204, b"")
    assert await is_accepted(app, ann.token)
    assert not await is_accepted(app, other["access_token"])
    assert (await refresh(client, other["refresh_token"])).status_code == 400
    form = {"grant_type": "password", "username": ann.email}
    url = "/api/v1/auth/token"
    assert (await client.post(url, data=form | {"password": PASSWORD})).status_code == 400
    assert (await client.post(url, data=form | {"password": NEW_PASSWORD})).status_code == 200


def after_check(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[Any]]) -> None:
    """Let something change when the next password has been checked."""
    check = AccountPasswords.check

    async def check_and_change(self: AccountPasswords, *given: Any) -> User:
        seen = await check(self, *given)
        monkeypatch.setattr(AccountPasswords, "check", check)
        await change()
        return seen

    monkeypatch.setattr(AccountPasswords, "check", check_and_change)


async def test_account_is_not_deleted_by_a_password_that_has_changed_meanwhile(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    after_check(monkeypatch, lambda: ann.client.post(f"{ME}/password", json=body))
    refused = await delete_account(ann)
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "The current password is wrong.",
    )
    assert (await ann.client.get(ME)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", ME, {}),
        ("PATCH", ME, {"email": "thief@example.com"}),
        ("POST", f"{ME}/password", {"new_password": NEW_PASSWORD}),
        pytest.param(
            "POST", f"{ME}/api-keys", {"name": "x", "scopes": ["items:read"]}, marks=needs("items")
        ),
    ],
)
async def test_request_that_outlives_its_session_changes_nothing(
    app: FastAPI,
    ann: Person,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    """The owner may have signed a thief out while the thief's request was under way."""
    accounts = app.state.resources.accounts
    session_id = (await accounts.authenticate(ann.token)).session_id
    after_check(monkeypatch, lambda: accounts.auth.end_sessions([session_id]))
    body = {"current_password": PASSWORD} | body
    assert (await ann.client.request(method, path, json=body)).status_code == 401
    async with client_of(app) as client:
        await sign_in_to_api(client, ann)


async def test_password_change_without_the_current_one_is_refused(ann: Person) -> None:
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 403
    body = {"current_password": PASSWORD, "new_password": "short"}
    assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 422


async def test_concurrent_password_changes_have_one_winner(ann: Person) -> None:
    responses = await asyncio.gather(
        *(
            ann.client.post(
                f"{ME}/password",
                json={"current_password": PASSWORD, "new_password": NEW_PASSWORD + str(n)},
            )
            for n in range(2)
        )
    )
    assert sorted(response.status_code for response in responses) == [204, 403]


@needs("items")
async def test_deleted_account_takes_its_items_along(
    app: FastAPI, ann: Person, root: Person
) -> None:
    await ann.client.post("/api/v1/items", json={"name": "Lamp", "price": 1})
    assert (await delete_account(ann)).status_code == 204
    assert (await ann.client.get(ME)).status_code == 401
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


async def test_last_superuser_cannot_leave(ann: Person, root: Person) -> None:
    url = f"/api/v1/users/{root.id}"
    for response in (
        await delete_account(root),
        await root.client.delete(url),
        await root.client.patch(url, json={"is_active": False}),
        await root.client.patch(url, json={"is_superuser": False}),
    ):
        assert response.status_code == 409
        assert response.json()["type"] == "/problems/last-superuser"
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_superuser": True})
    assert (await delete_account(root)).status_code == 204


async def test_superusers_leaving_concurrently_leave_one(
    app: FastAPI, ann: Person, root: Person
) -> None:
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_superuser": True})
    async with client_of(app) as client:
        token = (await sign_in_to_api(client, ann))["access_token"]
    ann.client.headers["Authorization"] = f"Bearer {token}"
    responses = await asyncio.gather(delete_account(ann), delete_account(root))
    assert sorted(response.status_code for response in responses) == [204, 409]


async def test_user_administration_without_the_scope_returns_403(ann: Person, root: Person) -> None:
    for method, url in (
        ("GET", "/api/v1/users"),
        ("GET", f"/api/v1/users/{root.id}"),
        ("PATCH", f"/api/v1/users/{root.id}"),
        ("DELETE", f"/api/v1/users/{root.id}"),
    ):
        response = await ann.client.request(method, url, json={} if method == "PATCH" else None)
        assert response.status_code == 403
        assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


async def test_demoted_superuser_is_signed_out_at_the_next_request(
    app: FastAPI, ann: Person, root: Person
) -> None:
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_superuser": True})
    async with client_of(app) as client:
        token = await sign_in_to_api(client, ann)
    async with client_of(app, token["access_token"]) as admin:
        assert (await admin.get("/api/v1/users")).status_code == 200
        await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_superuser": False})
        assert (await admin.get("/api/v1/users")).status_code == 401


async def test_users_are_listed_in_pages(ann: Person, bob: Person, root: Person) -> None:
    params: dict[str, Any] = {"limit": 2, "sort": "-email", "with_total": True}
    first = await root.client.get("/api/v1/users", params=params)
    assert [user["email"][:3] for user in first.json()["results"]] == ["roo", "bob"]
    assert first.json()["total"] == 3
    assert 'rel="next"' in first.headers["Link"]
    params["cursor"] = first.json()["next"]
    second = (await root.client.get("/api/v1/users", params=params)).json()
    assert [user["email"] for user in second["results"]] == [ann.email]
    assert second["next"] is None
    assert "hash" not in first.text


async def test_deactivated_sessions_stay_ended_after_activation(
    app: FastAPI, ann: Person, root: Person
) -> None:
    url = f"/api/v1/users/{ann.id}"
    response = await root.client.patch(url, json={"is_active": False})
    assert response.json()["is_active"] is False
    assert not await is_accepted(app, ann.token)
    params = {"is_active": False}
    found = (await root.client.get("/api/v1/users", params=params)).json()["results"]
    assert [user["id"] for user in found] == [ann.id]
    await root.client.patch(url, json={"is_active": True})
    assert not await is_accepted(app, ann.token)


@pytest.mark.parametrize("user_id", [-1, 0, 999, 2**63, 10**39])
async def test_missing_user_returns_404(root: Person, user_id: int) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        body = {"full_name": "x"} if method == "PATCH" else None
        response = await root.client.request(method, f"/api/v1/users/{user_id}", json=body)
        assert response.status_code == 404


async def test_user_deleted_by_a_superuser_is_signed_out(
    app: FastAPI, ann: Person, root: Person
) -> None:
    assert (await root.client.delete(f"/api/v1/users/{ann.id}")).status_code == 204
    assert not await is_accepted(app, ann.token)
    assert (await root.client.get(f"/api/v1/users/{ann.id}")).status_code == 404
