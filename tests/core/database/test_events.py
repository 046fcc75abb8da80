"""Tests that events are published only after the commit that recorded them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select

from app.accounts.models import User
from app.core.database.dependencies import SessionDep
from app.core.database.events import CommitOrder, Event, Events, after_commit
from app.core.database.unit_of_work import Database
from app.core.errors import Conflict
from app.core.realtime.broadcast import Broadcast
from tests.conftest import Person, client_of, make_settings

USER = {"email": "ann@example.com", "email_key": "ann@example.com", "password_hash": "x"}


class Happened(Event):
    number: int

    @property
    def topic(self) -> str:
        return "numbers"


class Elsewhere(Happened):
    @property
    def topic(self) -> str:
        return "elsewhere"


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[tuple[Database, list[Event]]]:
    published = list[Event]()

    def publish(events: Sequence[Event]) -> None:
        published.extend(events)

    database = await asyncio.to_thread(Database, make_settings(url), publish)  # It reads files.
    yield database, published
    await database.dispose()


async def test_events_are_published_in_order_after_the_commit(database_url: str) -> None:
    async with publishing(database_url) as (database, published):
        async with database.transaction() as session:
            for number in range(3):
                Events(session).record(Happened(number=number))
            session.add(User(**USER))
            await session.flush()
            assert published == []
        assert published == [Happened(number=number) for number in range(3)]


async def test_events_of_a_rollback_are_discarded(database_url: str) -> None:
    async with publishing(database_url) as (database, published):
        with suppress(Conflict):
            async with database.transaction() as session:
                Events(session).record(Happened(number=1))
                raise Conflict("no")
        async with database.transaction():
            pass
        assert published == []


async def test_failed_commit_publishes_nothing(database_url: str) -> None:
    def fail(_: object) -> None:
        raise Conflict("no")

    async with publishing(database_url) as (database, published):
        with suppress(Conflict):
            async with database.transaction() as session:
                await session.scalars(select(User))
                event.listen(session.sync_session, "before_commit", fail)
                Events(session).record(Happened(number=1))
        assert published == []


def test_crossing_commit_responses_keep_the_order() -> None:
    published = list[Event]()
    commits = CommitOrder(published.extend)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(commits.reserve([Happened(number=1)]))
        second.enter_context(commits.reserve([Happened(number=2), Elsewhere(number=3)]))
        second.close()
        assert published == [Elsewhere(number=3)]
    assert published == [Elsewhere(number=3), Happened(number=1), Happened(number=2)]
    assert commits._pending == {}


def test_failed_commit_does_not_delay_later_events() -> None:
    published = list[Event]()
    commits = CommitOrder(published.extend)
    with suppress(Conflict), commits.reserve([Happened(number=1)]):
        with commits.reserve([Happened(number=2)]):
            pass
        assert published == []
        raise Conflict("no")
    assert published == [Happened(number=2)]
    assert commits._pending == {}


async def test_events_belong_to_one_unit_of_work(database_url: str) -> None:
    async with publishing(database_url) as (database, published):
        async with database.transaction() as outer:
            Events(outer).record(Happened(number=1))
            async with database.reading() as inner:
                Events(inner).record(Happened(number=2))
                await inner.scalars(select(User))
        assert published == [Happened(number=1)]


def test_failure_to_publish_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Broadcast):
        def _forward(self, topic: str, message: str) -> None:
            raise OSError("away")

    heard, broadcast = list[str](), Broken()

    def fail(message: str) -> None:
        raise ValueError("a bug")

    with broadcast.subscribed("numbers", fail), broadcast.subscribed("numbers", heard.append):
        broadcast.publish([Happened(number=1), Happened(number=2)])
    assert heard == ['{"number":1}', '{"number":2}']
    assert caplog.text.count("OSError: away") == 2
    assert caplog.text.count("ValueError: a bug") == 2
    broadcast.publish([Happened(number=3)])
    assert len(heard) == 2  # All listeners have unsubscribed.


@pytest.fixture
async def numbers(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    @app.post("/api/v1/numbers/{number}")
    async def record(number: int, session: SessionDep, fail: bool = False) -> None:
        Events(session).record(Happened(number=number))
        if fail:
            raise Conflict("no")

    async with client_of(app) as client:
        yield client


async def test_request_publishes_its_events(app: FastAPI, numbers: httpx.AsyncClient) -> None:
    heard = list[str]()
    with app.state.resources.broadcast.subscribed("numbers", heard.append):
        assert (await numbers.post("/api/v1/numbers/1")).status_code == 200
        assert (await numbers.post("/api/v1/numbers/2?fail=true")).status_code == 409
        assert (await numbers.post("/api/v1/numbers/3")).status_code == 200
    assert heard == ['{"number":1}', '{"number":3}']


async def test_call_after_commit_runs_after_the_commit(app: FastAPI, ann: Person) -> None:
    database: Database = app.state.resources.database
    calls = list[str]()
    async with database.transaction() as session:
        (await session.get_one(User, ann.id)).full_name = "Ann"
        after_commit(session, lambda: calls.append("called"))
        await session.flush()
        assert calls == []
    assert calls == ["called"]


async def test_call_after_commit_is_discarded_by_a_rollback(app: FastAPI) -> None:
    calls = list[str]()
    async with app.state.resources.database.transaction() as session:
        after_commit(session, lambda: calls.append("of what was rolled back"))
        await session.rollback()
        after_commit(session, lambda: calls.append("of what was committed"))
    assert calls == ["of what was committed"]


async def test_failed_call_after_commit_is_logged_and_does_not_stop_others(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    calls = list[str]()
    async with app.state.resources.database.transaction() as session:
        after_commit(session, [].pop)
        after_commit(session, lambda: calls.append("called"))
    assert calls == ["called"]
    assert "A call after a commit failed" in caplog.messages
