"""A bounded number of deliveries waits for each webhook, and what comes beyond is noted."""

import asyncio
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.core.database.models import utc_now
from app.core.jobs.queue import JobQueue, QueuedJob
from app.features.webhooks.models import WebhookDelivery
from app.features.webhooks.service import deliveries, webhooks
from tests.accounts.conftest import Outbox
from tests.conftest import Person
from tests.features.webhooks.receiver import Receiver
from tests.features.webhooks.steps import (
    DELETED,
    WEBHOOKS,
    change_webhooks,
    make,
    read,
    record,
    resources_of,
    stored,
    thing_event,
)

MAX_WAITING = 4


@pytest.fixture(autouse=True)
def _few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_WAITING", MAX_WAITING)


async def test_events_beyond_the_waiting_deliveries_are_dropped_and_counted(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    full = await make(ann, receiver.url)
    other = await make(ann, f"{receiver.url}/other", event_types=[DELETED])
    await record(app, *(thing_event(ann.id, number) for number in range(3)))
    assert (await read(ann, full))["dropped_events"] == 0
    await record(app, *(thing_event(ann.id, number) for number in range(3)))
    await record(app, thing_event(ann.id), thing_event(ann.id, 1, DELETED))
    found = await read(ann, full)
    assert found["dropped_events"] == 4
    assert found["last_dropped_at"] is not None
    assert found["version"] == full["version"]
    rows = await stored(app, WebhookDelivery)
    assert [row.webhook_id for row in rows] == [full["id"]] * MAX_WAITING + [other["id"]]
    assert (await read(ann, other))["dropped_events"] == 0


async def test_places_are_free_again_once_deliveries_are_sent(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, *(thing_event(ann.id, number) for number in range(6)))
    await resources_of(app).jobs.drain()
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    assert len(receiver.requests) == MAX_WAITING + 1
    url = f"{WEBHOOKS}/{webhook['id']}"
    assert (await read(ann, webhook))["dropped_events"] == 2
    saved = (await ann.client.patch(url, json={"is_enabled": True})).json()
    assert saved["dropped_events"] == 0


async def test_deliveries_that_wait_for_another_attempt_take_places(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [500] * MAX_WAITING
    await record(app, *(thing_event(ann.id, number) for number in range(MAX_WAITING)))
    await resources_of(app).jobs.drain()
    await record(app, thing_event(ann.id))
    assert (await read(ann, webhook))["dropped_events"] == 1


async def fill(app: FastAPI, ann: Person, receiver: Receiver) -> str:
    """Make a webhook whose deliveries all wait for another attempt, and return its URL."""
    webhook = await make(ann, receiver.url)
    receiver.responses = [500] * MAX_WAITING
    await record(app, *(thing_event(ann.id, number) for number in range(MAX_WAITING)))
    await resources_of(app).jobs.drain()
    assert len(receiver.requests) == MAX_WAITING
    return f"{WEBHOOKS}/{webhook['id']}"


async def test_enabling_a_webhook_makes_its_waiting_deliveries_due(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    url = await fill(app, ann, receiver)
    await ann.client.patch(url, json={"description": "A lamp"})
    await resources_of(app).jobs.drain()
    assert len(receiver.requests) == MAX_WAITING
    await ann.client.patch(url, json={"is_enabled": True})
    rows = await stored(app, WebhookDelivery)
    assert all(row.next_attempt_at <= utc_now() for row in rows)
    await resources_of(app).jobs.drain()
    assert len(receiver.requests) == 2 * MAX_WAITING
    assert (await ann.client.post(f"{url}/test")).status_code == 202


@pytest.mark.parametrize(("minutes", "sent"), [(29, 1), (30, MAX_WAITING)])
async def test_first_success_after_an_outage_makes_the_waiting_deliveries_due(
    app: FastAPI, ann: Person, receiver: Receiver, minutes: int, sent: int
) -> None:
    """After a short outage they keep their pauses, which are as short."""
    await fill(app, ann, receiver)
    await change_webhooks(app, failing_since=utc_now() - timedelta(minutes=minutes))
    first, *_ = await stored(app, QueuedJob)
    async with resources_of(app).database.transaction() as session:
        due = update(QueuedJob).where(QueuedJob.id == first.id)
        await session.execute(due.values(run_at=utc_now()))
    await resources_of(app).jobs.drain()
    assert len(receiver.requests) == MAX_WAITING + sent


async def test_concurrent_transactions_do_not_exceed_the_bound(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    events = [thing_event(ann.id, number) for number in range(3)]
    await asyncio.gather(*(record(app, *events) for _ in range(5)))
    assert len(await stored(app, WebhookDelivery)) == MAX_WAITING
    assert (await read(ann, webhook))["dropped_events"] == 15 - MAX_WAITING


async def test_owner_gets_one_mail_when_events_are_dropped(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    events = [thing_event(ann.id, number) for number in range(MAX_WAITING + 1)]
    await record(app, *events)
    await record(app, *events)
    assert await outbox.to() == [(ann.email, "webhook_full")]
    ((to, template, context),) = outbox.sent
    message = resources_of(app).mailer._compose(to, template, context)
    for content in (part.get_content() for part in message.iter_parts()):
        assert receiver.url in content
        assert "/webhooks/1/deliveries" in content
        assert "/webhooks/1/edit" in content
        assert "4 deliveries to it are waiting" in content
    await ann.client.patch(f"{WEBHOOKS}/1", json={"is_enabled": True})
    await record(app, *events)
    assert (await read(ann, {"id": 1}))["dropped_events"] == 1
    assert await outbox.to() == [(ann.email, "webhook_full")]
    await change_webhooks(app, last_dropped_at=utc_now() - timedelta(days=1))
    await record(app, *events)
    assert await outbox.to() == [(ann.email, "webhook_full")] * 2


async def test_webhook_with_the_id_of_a_deleted_one_that_was_full_is_not_mailed(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    """The job of the deleted webhook may run after SQLite has given its id to another one."""
    webhook = await make(ann, receiver.url)
    async with resources_of(app).database.transaction() as session:
        await JobQueue(session).enqueue("send_webhook_full_mail", webhook["id"])
    assert await outbox.to() == []


async def test_full_webhook_refuses_to_send_on_demand(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, *(thing_event(ann.id, number) for number in range(MAX_WAITING)))
    url = f"{WEBHOOKS}/{webhook['id']}"
    for path in ("test", "deliveries/1/send"):
        response = await ann.client.post(f"{url}/{path}")
        assert response.status_code == 409
        assert "are waiting" in response.json()["detail"]
    assert len(await stored(app, QueuedJob)) == MAX_WAITING


async def test_sends_on_demand_are_limited_for_each_user(
    app: FastAPI,
    ann: Person,
    bob: Person,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "SENDS_PER_MINUTE", 2)
    first, second, bobs = [await make(each, receiver.url) for each in (ann, ann, bob)]
    test, send = f"{WEBHOOKS}/{first['id']}/test", f"{WEBHOOKS}/{first['id']}/deliveries/1/send"
    assert (await ann.client.post(test)).status_code == 202
    assert (await ann.client.post(send)).status_code == 202
    for path in (test, send, f"{WEBHOOKS}/{second['id']}/test"):
        response = await ann.client.post(path)
        assert response.status_code == 429
        assert "Retry-After" in response.headers
    assert (await bob.client.post(f"{WEBHOOKS}/{bobs['id']}/test")).status_code == 202
