"""Tests of the idempotency dependency and its route class, with an endpoint of the tests."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy import func, select

from app.core.database.models import utc_now
from app.core.errors import Conflict, Invalid
from app.core.http import idempotency_records
from app.core.http.idempotency import idempotent, parse_key
from app.core.http.idempotency_records import (
    CLEANUP_LIMIT,
    IdempotencyRecord,
    IdempotencyRepository,
)
from app.core.http.routing import ApiRouter
from app.core.security.principal import Principal
from tests.conftest import Person, client_of, counted_statements, only
from tests.core.http.idempotency import INVALID_KEYS, comparable


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("x", "x"),
        ("~" * 255, "~" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        ('"' + r"\\" * 255 + '"', "\\" * 255),
        ('"order 7"', "order 7"),
        (r'"a\"b\\c"', r'a"b\c'),
        (r'a"b\c', r'a"b\c'),
    ],
)
def test_key_is_accepted_bare_or_quoted(field: str, key: str) -> None:
    assert parse_key(field) == key


@pytest.mark.parametrize("field", INVALID_KEYS)
def test_invalid_key_returns_422(field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_key(field)
    assert caught.value.loc == ("header", "Idempotency-Key")


class Things:
    """An endpoint that returns what the test sets, and counts its calls."""

    def __init__(self, app: FastAPI, person: Person) -> None:
        self.result: Any = {"thing": 1}
        self.calls = 0
        self.client = client_of(app, person.token)
        principal = Principal(person.id, uuid4(), frozenset(), is_superuser=False)
        router = ApiRouter()

        async def sign_in(request: Request) -> None:
            request.scope["principal"] = principal

        @router.post("/api/v1/things", dependencies=[Depends(sign_in), idempotent])
        @router.post("/api/v1/others", dependencies=[Depends(sign_in), idempotent])
        async def create_thing(body: Any = None) -> Any:
            self.calls += 1
            return self.result

        app.include_router(router)

    async def post(
        self, url: str = "/api/v1/things", key: str = "k", **options: Any
    ) -> httpx.Response:
        return await self.client.post(url, headers={"Idempotency-Key": key}, **options)


@pytest.fixture
def things(app: FastAPI, ann: Person) -> Things:
    return Things(app, ann)


@pytest.mark.parametrize(
    "result",
    [
        lambda: {"thing": 1},
        lambda: Response(
            "\x00ü", 202, {"Location": "/api/v1/things/1", "ETag": '"1"'}, "text/plain"
        ),
        lambda: Response(status_code=204),
        lambda: Response(b"x" * 500_000, 201),
    ],
    ids=["model", "response", "empty", "large"],
)
async def test_replay_equals_the_first_response(things: Things, result: Any) -> None:
    things.result = result()
    first, second = await things.post(), await things.post()
    assert comparable(first) == comparable(second)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert things.calls == 1


@pytest.mark.parametrize(
    "other",
    [
        {"url": "/api/v1/others", "content": b"null"},
        {"url": "/api/v1/things?x=1", "content": b"null"},
        {"json": {"x": 1}},
        {"content": b"null "},
    ],
    ids=str,
)
async def test_key_of_another_request_returns_422(things: Things, other: dict[str, Any]) -> None:
    await things.post(content=b"null")
    response = await things.post(**other)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert things.calls == 1


async def test_two_key_fields_return_422(things: Things) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert (await things.client.post("/api/v1/things", headers=headers)).status_code == 422
    assert things.calls == 0


@pytest.mark.parametrize("status", [303, 404])
async def test_unsuccessful_response_is_not_stored(
    app: FastAPI, things: Things, status: int
) -> None:
    """A returned error is committed with the key, but its record is ignored."""
    things.result = Response("no", status)
    for calls in (1, 2):
        response = await things.post()
        assert response.status_code == status
        assert "Idempotency-Replayed" not in response.headers
        assert things.calls == calls
    things.result = {"thing": 1}
    assert (await things.post()).status_code == 200
    assert (await things.post()).headers["Idempotency-Replayed"] == "true"


async def test_router_without_the_route_class_returns_500(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.post("/api/v1/forgotten", dependencies=[idempotent])
    async def forgotten() -> None: ...

    assert (await client.post("/api/v1/forgotten")).status_code == 500


async def test_new_record_deletes_expired_records(
    app: FastAPI, ann: Person, things: Things
) -> None:
    def record(key: str, expires_in: timedelta) -> IdempotencyRecord:
        return IdempotencyRecord(
            user_id=ann.id,
            key=key,
            fingerprint=b"",
            status=200,
            headers={},
            body=b"",
            expires_at=utc_now() + expires_in,
        )

    async with app.state.resources.database.transaction() as session:
        for n in range(CLEANUP_LIMIT + 1):
            session.add(record(f"old {n}", -timedelta(seconds=1)))
        session.add(record("valid", timedelta(minutes=1)))
    left = []
    for key in ("a", "b"):
        await things.post(key=key)
        async with app.state.resources.database.reading() as session:
            count = select(func.count()).select_from(IdempotencyRecord)
            left.append(await session.scalar(count))
    assert left == [3, 3]  # One expired record, "valid" and "a"; then "valid", "a" and "b".


async def test_key_needs_a_fixed_number_of_statements(app: FastAPI, things: Things) -> None:
    """The first request reserves, stores and cleans up; a replay fails to reserve, and reads."""
    for expected in (["INSERT", "UPDATE", "DELETE"], ["INSERT", "SELECT"]):
        async with counted_statements(app) as statements:
            await things.post()
        work = [each.split()[0] for each in statements]
        assert [each for each in work if each not in ("BEGIN", "SHOW")] == expected


async def test_deleted_account_or_record_returns_409(
    app: FastAPI, ann: Person, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Conflict):
        async with app.state.resources.database.transaction() as session:
            await IdempotencyRepository(session).reserve(ann.id + 1, "k", b"")

    async def get(*_: Any) -> None: ...

    await things.post()
    monkeypatch.setattr(IdempotencyRepository, "get", get)
    response = await things.post()
    assert (response.status_code, response.headers["Retry-After"]) == (409, "5")
    assert response.json()["type"] == "/problems/idempotency-in-progress"


@only("postgresql")
async def test_wait_for_a_running_request_times_out(
    app: FastAPI, ann: Person, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency_records, "LOCK_TIMEOUT", "50ms")
    async with app.state.resources.database.transaction() as session:
        assert await IdempotencyRepository(session).reserve(ann.id, "k", b"")
        response = await things.post()
        await session.rollback()
    assert response.status_code == 409
    assert response.headers["Retry-After"] == "5"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert things.calls == 0
    assert (await things.post()).status_code == 200
