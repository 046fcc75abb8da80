import asyncio
from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD, client_of, make_settings, running

ANN = {"email": "ann@example.com", "password": PASSWORD, "full_name": "Ann"}
URL = "/api/v1/users"


async def test_sign_up_returns_the_user(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=ANN)
    assert response.status_code == 201
    assert (
        response.json().items()
        >= {
            "email": "ann@example.com",
            "full_name": "Ann",
            "is_active": True,
            "is_superuser": False,
        }.items()
    )
    assert "hash" not in response.text
    assert PASSWORD not in response.text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@example.com", "Ann@EXAMPLE.com"),
        ("straße@example.com", "STRASSE@example.com"),
        ("ﬁn@example.com", "fin@example.com"),
        ("é@example.com", "e\u0301@example.com"),
    ],
)
async def test_taken_address_returns_409(
    client: httpx.AsyncClient, first: str, second: str
) -> None:
    assert (await client.post(URL, json=ANN | {"email": first})).status_code == 201
    response = await client.post(URL, json=ANN | {"email": second})
    assert response.status_code == 409
    assert response.json()["type"] == "/problems/already-exists"
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_address_signed_up_concurrently_goes_to_one(client: httpx.AsyncClient) -> None:
    responses = await asyncio.gather(*(client.post(URL, json=ANN) for _ in range(6)))
    assert sorted(response.status_code for response in responses) == [201, *[409] * 5]


@pytest.mark.parametrize(
    "bad",
    [
        {"email": "ann"},
        {"email": "ann@example"},
        {"email": "a\x00nn@example.com"},
        {"email": f"ann@{'a.' * 200}com"},
        {"email": None},
        {"password": "too short"},
        {"password": "x" * 129},
        {"password": None},
        {"password": 1234567890},
        {"full_name": "x" * 256},
        {"full_name": "a\x00b"},
        {"is_superuser": True},
    ],
    ids=str,
)
async def test_invalid_value_is_named(client: httpx.AsyncClient, bad: dict[str, Any]) -> None:
    response = await client.post(URL, json=ANN | bad)
    assert response.status_code == 422
    assert [error["loc"][:2] for error in response.json()["errors"]] == [["body", *bad]]
    assert str(ANN["password"]) not in response.text


async def test_password_of_lone_surrogates_returns_422(client: httpx.AsyncClient) -> None:
    body = b'{"email": "ann@example.com", "password": "' + b"\\ud800" * 10 + b'"}'
    headers = {"Content-Type": "application/json"}
    response = await client.post(URL, content=body, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "password"]


async def test_password_of_any_characters_is_accepted(client: httpx.AsyncClient) -> None:
    for n, password in enumerate(["nul\x00 inside" * 2, "пароль пароль", "🦉" * 128, " " * 10]):
        email = f"ann{n}@example.com"
        response = await client.post(URL, json={"email": email, "password": password})
        assert response.status_code == 201
        form = {"grant_type": "password", "username": email, "password": password}
        assert (await client.post("/api/v1/auth/token", data=form)).status_code == 200


async def test_closed_sign_up_returns_403(database_url: str) -> None:
    settings = make_settings(database_url, signup_enabled=False)
    async with running(settings) as app, client_of(app) as client:
        response = await client.post(URL, json=ANN)
    assert response.status_code == 403
