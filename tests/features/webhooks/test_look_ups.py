"""A write of a user without webhooks does not look for them, and misses none that is made."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from fastapi import FastAPI
from sqlalchemy import delete, event

from app.accounts import session_cache
from app.accounts.memory import Absences
from app.core.database.session import Session
from app.features.webhooks.jobs import queue_webhooks
from app.features.webhooks.models import Webhook, WebhookDelivery
from app.features.webhooks.repository import SUBSCRIPTIONS
from app.features.webhooks.service.deliveries import ENABLED_WEBHOOKS
from tests.accounts.session_cache import until_cache_is_held
from tests.conftest import Person, client_of, make_settings, only, running
from tests.databases import run_sql
from tests.features.webhooks.steps import (
    WEBHOOKS,
    change_webhooks,
    make,
    record,
    resources_of,
    stored,
    thing_event,
)
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually_true

URL = "http://127.0.0.1:1/"


def absences_of(app: FastAPI) -> Absences:
    return resources_of(app).absences


def is_absent(app: FastAPI, ann: Person) -> bool:
    return absences_of(app).has(ann.id, ENABLED_WEBHOOKS)


@contextmanager
def counted_look_ups() -> Iterator[list[int]]:
    """Record the owners whose webhooks are looked up."""
    seen = list[int]()
    fetch = Session.fetch

    async def count(self: Session, query: Any, params: Any) -> Any:
        if query is SUBSCRIPTIONS:
            seen.append(params["owner_id"])
        return await fetch(self, query, params)

    with patch.object(Session, "fetch", count):
        yield seen


async def remember_absence(app: FastAPI, ann: Person) -> None:
    """Let the application know that the user has no webhooks."""
    await until_cache_is_held(app)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_absent(app, ann):  # What was notified before may be heard meanwhile.
            await record(app, thing_event(ann.id))


def hear_nothing(app: FastAPI) -> None:
    """Let the application hear of no change by another process, and hold its lease."""
    absences_of(app).hold_until(time.monotonic() + 3600)
    resources_of(app).session_lease._memories = ()


async def record_until_queued(app: FastAPI, ann: Person) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await stored(app, WebhookDelivery):
            await record(app, thing_event(ann.id))


@asynccontextmanager
async def other_process(database_url: str, ann: Person) -> AsyncIterator[Person]:
    """Yield the user as a client of another application on the same database."""
    settings = make_settings(database_url, webhook_allowed_networks=["127.0.0.1/32"])
    async with running(settings) as other, client_of(other, ann.token) as client:
        yield Person(ann.id, ann.email, ann.token, client)


@only("postgresql")
async def test_owner_without_webhooks_costs_no_look_up(app: FastAPI, ann: Person) -> None:
    await remember_absence(app, ann)
    hear_nothing(app)
    with counted_look_ups() as seen:
        for _ in range(3):
            await record(app, thing_event(ann.id))
    assert seen == []


@only("postgresql")
async def test_owner_with_a_webhook_is_looked_up(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    await make(ann, URL)
    with counted_look_ups() as seen:
        for _ in range(3):
            await record(app, thing_event(ann.id))
    assert seen == [ann.id] * 3


@only("sqlite")
async def test_each_write_looks_webhooks_up_on_sqlite(app: FastAPI, ann: Person) -> None:
    with counted_look_ups() as seen:
        for _ in range(3):
            await record(app, thing_event(ann.id))
    assert seen == [ann.id] * 3


@only("postgresql")
async def test_lapsed_lease_looks_webhooks_up(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember_absence(app, ann)
    monkeypatch.setattr(session_cache, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(resources_of(app).session_lease, "_name", "not heard")
    await eventually_true(lambda: not absences_of(app).is_held)
    with counted_look_ups() as seen:
        for _ in range(3):
            await record(app, thing_event(ann.id))
    assert seen == [ann.id] * 3


@only("postgresql")
async def test_process_that_makes_a_webhook_forgets_at_once(app: FastAPI, ann: Person) -> None:
    await remember_absence(app, ann)
    hear_nothing(app)
    await make(ann, URL)
    await record(app, thing_event(ann.id))
    assert len(await stored(app, WebhookDelivery)) == 1


@only("postgresql")
async def test_process_that_enables_a_webhook_forgets_at_once(app: FastAPI, ann: Person) -> None:
    webhook = await make(ann, URL, is_enabled=False)
    await remember_absence(app, ann)
    hear_nothing(app)
    await ann.client.patch(f"{WEBHOOKS}/{webhook['id']}", json={"is_enabled": True})
    await record(app, thing_event(ann.id))
    assert len(await stored(app, WebhookDelivery)) == 1


@only("postgresql")
async def test_webhook_of_another_process_is_heard(
    app: FastAPI, database_url: str, ann: Person
) -> None:
    await remember_absence(app, ann)
    async with other_process(database_url, ann) as other:
        await make(other, URL)
    await record_until_queued(app, ann)


@only("postgresql")
@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("UPDATE webhooks SET is_enabled = false", "UPDATE webhooks SET is_enabled = true"),
        ("UPDATE users SET is_active = false", "UPDATE users SET is_active = true"),
    ],
)
async def test_change_by_another_program_is_heard(
    app: FastAPI, database_url: str, ann: Person, before: str, change: str
) -> None:
    await make(ann, URL)
    await run_sql(database_url, before)
    await remember_absence(app, ann)
    await run_sql(database_url, change)
    await record_until_queued(app, ann)


@only("postgresql")
async def test_webhook_that_is_made_after_the_look_up_is_not_missed(
    app: FastAPI, ann: Person
) -> None:
    await until_cache_is_held(app)
    resources = resources_of(app)
    async with resources.database.transaction() as session:
        await queue_webhooks(resources, session, [thing_event(ann.id)])
        await make(ann, URL)
    assert not is_absent(app, ann)
    await record(app, thing_event(ann.id))
    assert len(await stored(app, WebhookDelivery)) == 1


def fail(_: Any) -> None:
    raise ZeroDivisionError


@only("postgresql")
async def test_deletion_that_is_rolled_back_is_not_remembered(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    await make(ann, URL)
    resources = resources_of(app)
    with pytest.raises(ZeroDivisionError):
        async with resources.database.transaction() as session:
            await session.execute(delete(Webhook))
            await queue_webhooks(resources, session, [thing_event(ann.id)])
            event.listen(session.sync_session, "before_commit", fail)
    assert not is_absent(app, ann)
    await record(app, thing_event(ann.id))
    assert len(await stored(app, WebhookDelivery)) == 1


@only("postgresql")
async def test_enabling_that_is_rolled_back_is_not_heard(
    app: FastAPI, database_url: str, ann: Person
) -> None:
    webhook = await make(ann, URL)
    await change_webhooks(app, is_enabled=False)
    await remember_absence(app, ann)
    changes = absences_of(app).change_count
    with pytest.raises(ZeroDivisionError):
        async with resources_of(app).database.transaction() as session:
            found = await session.get_one(Webhook, webhook["id"])
            found.is_enabled = True
            await session.flush()
            raise ZeroDivisionError
    await run_sql(database_url, "SELECT pg_notify('auth_sessions', 'user:0')")
    await eventually_true(lambda: absences_of(app).change_count != changes)
    assert is_absent(app, ann)


@only("postgresql")
async def test_schema_without_the_trigger_grants_no_lease(own_database_url: str) -> None:
    await run_sql(own_database_url, "DROP TRIGGER notify_webhook_enabled ON webhooks")
    async with running(make_settings(own_database_url)) as app:
        await eventually_true(lambda: resources_of(app).session_lease._is_reported)
        assert not absences_of(app).is_held
