"""Rules for passwords, which hold wherever one is set."""

from typing import Any

import httpx
import pytest

from app.core.about import NAME
from tests.conftest import PASSWORD, Person, client_of, make_settings, running

USERS = "/api/v1/users"
ME = f"{USERS}/me"
WEAK = ["Password 123!", "e\u0301" * 6, "1234567890"]


async def sign_up(client: httpx.AsyncClient, person: Person, password: str) -> httpx.Response:
    return await client.post(USERS, json={"email": f"new+{person.email}", "password": password})


async def change(client: httpx.AsyncClient, person: Person, password: str) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": password}
    return await person.client.post(f"{ME}/password", json=body)


async def reset(client: httpx.AsyncClient, person: Person, password: str) -> httpx.Response:
    return await client.post(
        "/api/v1/auth/password-reset/confirm", json={"token": "x", "password": password}
    )


@pytest.mark.parametrize("password", WEAK)
@pytest.mark.parametrize("set_password", [sign_up, change, reset])
async def test_weak_password_is_refused_wherever_it_is_set(
    client: httpx.AsyncClient, ann: Person, set_password: Any, password: str
) -> None:
    response = await set_password(client, ann, password)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][-1] in ("password", "new_password")
    assert password not in response.text


@pytest.mark.parametrize("password", ["ann@example.com", "ANN@example.com1", f"{NAME} 1"])
async def test_name_as_a_password_is_refused_wherever_it_is_set(
    client: httpx.AsyncClient, ann: Person, password: str
) -> None:
    changed = await change(client, ann, password)
    assert (changed.status_code, changed.json()["errors"][0]["loc"]) == (
        422,
        ["body", "new_password"],
    )
    body = {"email": "ann@example.org", "password": password}
    signed_up = await client.post(USERS, json=body | {"email": "ann@EXAMPLE.com"})
    assert signed_up.status_code == 422


async def test_password_typed_in_another_unicode_form_signs_in(client: httpx.AsyncClient) -> None:
    account = {"email": "eve@example.com", "password": "Ka\u0308sebro\u0308tchen"}
    assert (await client.post(USERS, json=account)).status_code == 201
    form = {"grant_type": "password", "username": account["email"], "password": "Käsebrötchen"}
    assert (await client.post("/api/v1/auth/token", data=form)).status_code == 200


async def test_weak_password_of_the_first_superuser_is_logged(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(
        database_url,
        first_superuser_email="superuser@example.com",
        first_superuser_password="superuser@example.com",
    )
    async with running(settings) as app, client_of(app) as client:
        assert (await client.get("/health/live")).status_code == 200
    assert "superuser could not be created: Choose a password" in caplog.text
