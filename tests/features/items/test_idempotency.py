import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, make_url, select, update

from app.core.database.models import utc_now
from app.core.http.idempotency_records import LIFETIME, IdempotencyRecord
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemRead
from tests.conftest import (
    PASSWORD,
    Person,
    counted_statements,
    make_person,
    make_settings,
    running,
)
from tests.core.http.idempotency import INVALID_KEYS, comparable
from tests.databases import Databases
from tests.features.items.steps import FAILING_COMMIT, LAMP
from tests.isolation import DEADLINE_SECONDS
from tests.server import serving, serving_until_killed, sign_up
from tests.waiting import eventually, until_blocked

ITEMS = "/api/v1/items"


async def post(person: Person, key: str, **changes: Any) -> httpx.Response:
    headers = {b"Idempotency-Key": key.encode()}
    return await person.client.post(ITEMS, json=LAMP | changes, headers=headers)


async def items_of(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await person.client.get(ITEMS)).json()["results"]
    return found


async def records_in(app: FastAPI) -> int | None:
    async with app.state.resources.database.reading() as session:
        count: int | None = await session.scalar(select(func.count(IdempotencyRecord.key)))
    return count


async def test_retry_creates_nothing_and_returns_the_first_response(ann: Person) -> None:
    first = await post(ann, "k")
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    await ann.client.patch(first.headers["Location"], json={"name": "Desk"})
    for key in ("k", '"k"'):
        retry = await post(ann, key)
        assert comparable(retry) == comparable(first)
        assert retry.headers["Idempotency-Replayed"] == "true"
    await ann.client.delete(first.headers["Location"])
    assert comparable(await post(ann, "k")) == comparable(first)
    assert await items_of(ann) == []


async def test_key_with_another_body_returns_422(ann: Person) -> None:
    first = (await post(ann, "k")).json()
    response = await post(ann, "k", name="Desk")
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/idempotency-key-reused"
    assert response.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert await items_of(ann) == [first]


async def test_key_of_another_user_is_another_key(ann: Person, bob: Person) -> None:
    mine, theirs = await post(ann, "k"), await post(bob, "k", name="Bob's")
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in theirs.headers
    assert await items_of(ann) == [mine.json()]
    assert await items_of(bob) == [theirs.json()]


@pytest.mark.parametrize("key", [key for key in INVALID_KEYS if key.strip() == key])
async def test_invalid_key_writes_nothing(app: FastAPI, ann: Person, key: str) -> None:
    response = await post(ann, key)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["loc"] == ["header", "Idempotency-Key"]
    assert await items_of(ann) == []
    assert await records_in(app) == 0


async def test_request_without_a_key_needs_no_more_statements(app: FastAPI, ann: Person) -> None:
    async with counted_statements(app) as statements:
        for _ in range(2):
            assert (await ann.client.post(ITEMS, json=LAMP)).status_code == 201
    work = [each.split()[0] for each in statements]
    assert [each for each in work if each != "BEGIN"] == ["INSERT"] * 2
    assert len(await items_of(ann)) == 2


async def test_key_expires_after_a_day(app: FastAPI, ann: Person) -> None:
    first = await post(ann, "k")
    async with app.state.resources.database.transaction() as session:
        record = (await session.scalars(select(IdempotencyRecord))).one()
        age = record.expires_at - utc_now()
        assert LIFETIME - timedelta(minutes=1) < age <= LIFETIME == timedelta(hours=24)
        await session.execute(update(IdempotencyRecord).values(expires_at=utc_now()))
    second = await post(ann, "k", name="Desk")
    assert second.status_code == 201
    assert "Idempotency-Replayed" not in second.headers
    assert await items_of(ann) == [first.json(), second.json()]
    assert comparable(await post(ann, "k", name="Desk")) == comparable(second)


async def test_records_are_deleted_with_the_account(app: FastAPI, ann: Person) -> None:
    await post(ann, "k")
    assert await records_in(app) == 1
    response = await ann.client.request(
        "DELETE", "/api/v1/users/me", json={"current_password": PASSWORD}
    )
    assert response.status_code == 204, response.text
    assert await records_in(app) == 0


async def test_openapi_document_describes_the_key(app: FastAPI) -> None:
    paths = (await asyncio.to_thread(app.openapi))["paths"]
    operation = paths[ITEMS]["post"]
    (parameter,) = operation["parameters"]
    assert (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
    assert not parameter["required"]
    assert parameter["schema"]["examples"]
    responses = operation["responses"]
    assert "Idempotency-Replayed" in responses["201"]["headers"]
    assert responses["409"]["description"] == "Request in progress"
    assert responses["422"]["description"] == "Invalid request; Idempotency key reused"
    sign_up = paths["/api/v1/users"]["post"]
    assert "Idempotency-Replayed" not in sign_up["responses"]["201"]["headers"]


async def assert_key_is_unused(app: FastAPI, person: Person) -> None:
    assert await items_of(person) == []
    assert await records_in(app) == 0
    response = await post(person, "k")
    assert response.status_code == 201
    assert "Idempotency-Replayed" not in response.headers
    assert await items_of(person) == [response.json()]


async def test_invalid_body_leaves_no_record(app: FastAPI, ann: Person) -> None:
    assert (await post(ann, "k", price=-1)).status_code == 422
    await assert_key_is_unused(app, ann)


async def test_error_after_the_insert_leaves_no_record(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(items: ItemRepository, *arguments: Any) -> ItemRead:
        await create(items, *arguments)
        raise ZeroDivisionError

    create = ItemRepository.create
    with monkeypatch.context() as patch:
        patch.setattr(ItemRepository, "create", fail)
        assert (await post(ann, "k")).status_code == 500
    await assert_key_is_unused(app, ann)


async def test_failed_commit_leaves_no_record(
    databases: Databases, own_database_url: str, password_hash: str
) -> None:
    statements = FAILING_COMMIT[own_database_url.partition("+")[0]]
    await asyncio.to_thread(databases.execute, own_database_url, *statements)
    async with running(make_settings(own_database_url)) as app:
        ann = await make_person(app, password_hash, "ann")
        async with ann.client:
            assert (await post(ann, "k")).status_code == 500
            undo = "DROP TRIGGER break" + (
                "" if app.state.resources.database.is_sqlite else " ON items"
            )
            await asyncio.to_thread(databases.execute, own_database_url, undo)
            await assert_key_is_unused(app, ann)


async def test_waiting_request_succeeds_after_the_first_one_fails(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, fails = asyncio.Event(), asyncio.Event()

    async def fail_at_first(items: ItemRepository, *arguments: Any) -> ItemRead:
        item = await create(items, *arguments)
        if not started.is_set():
            started.set()
            await fails.wait()
            raise ZeroDivisionError
        return item

    create = ItemRepository.create
    monkeypatch.setattr(ItemRepository, "create", fail_at_first)
    first = asyncio.create_task(post(ann, "k"))
    await started.wait()
    others = [asyncio.create_task(post(ann, "k")) for _ in range(3)]
    if not app.state.resources.database.is_sqlite:  # SQLite has one connection that writes.
        await until_blocked(app, 3)
    fails.set()
    assert (await first).status_code == 500
    responses = [await other for other in others]
    assert [response.status_code for response in responses] == [201] * 3
    assert len({response.content for response in responses}) == 1
    replays = ["Idempotency-Replayed" in response.headers for response in responses]
    assert sorted(replays) == [False, True, True]
    assert await items_of(ann) == [responses[0].json()]


def test_concurrent_requests_with_one_key_create_one_item(server: httpx.Client) -> None:
    check_that_one_item_is_created(server)


def test_concurrent_requests_on_two_workers_create_one_item(
    two_workers: httpx.Client,
) -> None:
    check_that_one_item_is_created(two_workers)


def check_that_one_item_is_created(client: httpx.Client) -> None:
    """Send more requests than the server has connections to the database."""
    sign_up(client)
    headers = dict(client.headers) | {"Idempotency-Key": "k"}
    url = client.base_url.join(ITEMS)

    def send(_: int) -> httpx.Response:
        """Send it on a connection of its own, so that both workers get requests."""
        return httpx.post(url, json=LAMP, headers=headers, timeout=DEADLINE_SECONDS, verify=False)

    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(send, range(16)))
    assert {response.status_code for response in responses} == {201}
    assert len({(r.content, r.headers["Location"]) for r in responses}) == 1
    replays = [response.headers.get("Idempotency-Replayed") for response in responses]
    assert (replays.count(None), replays.count("true")) == (1, 15)
    assert client.get(ITEMS).json()["results"] == [responses[0].json()]


# A trigger that never lets the insertion of an item end.
STUCK = {
    "sqlite": (
        """CREATE TRIGGER stuck AFTER INSERT ON items BEGIN
             SELECT count(*) FROM (WITH RECURSIVE n (i) AS
               (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT i FROM n); END""",
    ),
    "postgresql": (
        """CREATE FUNCTION stuck() RETURNS trigger AS
           'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END' LANGUAGE plpgsql""",
        "CREATE TRIGGER stuck AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION stuck()",
    ),
}
SLEEPERS = """SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event = 'PgSleep'"""


def test_killed_server_leaves_nothing(databases: Databases, own_database_url: str) -> None:
    url = own_database_url
    is_sqlite = url.startswith("sqlite")
    databases.execute(url, *STUCK[url.partition("+")[0]])
    with ThreadPoolExecutor(1) as threads:
        with serving_until_killed(url) as client:
            sign_up(client)
            headers = dict(client.headers) | {"Idempotency-Key": "k"}
            target = client.base_url.join(ITEMS)
            future = threads.submit(
                httpx.post, target, json=LAMP, headers=headers, timeout=DEADLINE_SECONDS
            )
            eventually(lambda: is_stuck(url))
        with pytest.raises(httpx.TransportError):
            future.result()
    if not is_sqlite:  # PostgreSQL checks for a client only between statements
        databases.execute(url, f"SELECT pg_terminate_backend(pid) FROM ({SLEEPERS}) AS sleepers")
    databases.execute(url, "DROP TRIGGER stuck" + ("" if is_sqlite else " ON items"))
    with serving(url) as client:
        client.headers.update(headers)
        assert client.get(ITEMS).json()["results"] == []
        response = client.post(ITEMS, json=LAMP)
        assert response.status_code == 201
        assert "Idempotency-Replayed" not in response.headers
        assert client.get(ITEMS).json()["results"] == [response.json()]


def is_stuck(url: str) -> bool:
    if url.startswith("sqlite"):  # The connection that writes is blocked.
        with closing(sqlite3.connect(make_url(url).database or "", timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    async def has_sleepers() -> bool:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        stuck = await connection.fetchval(f"SELECT EXISTS ({SLEEPERS})")
        await connection.close()
        return bool(stuck)

    return asyncio.run(has_sleepers())
