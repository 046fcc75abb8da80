"""Events are sent after the commit of their change, signed, and again after a failure."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text, update
from standardwebhooks import WebhookVerificationError

from app.core.database.models import utc_now
from app.core.database.session import Session
from app.core.errors import Unauthenticated
from app.core.jobs.lanes import MAX_SLOW_LANES
from app.core.jobs.queue import QueuedJob
from app.features.webhooks.dependencies import build_service
from app.features.webhooks.jobs import delete_old_webhook_deliveries, send_webhook
from app.features.webhooks.models import Webhook, WebhookDelivery
from app.features.webhooks.repository import SUBSCRIPTIONS, DeliveryUnit
from app.features.webhooks.schemas import WebhookCreate, WebhookUpdate
from app.features.webhooks.service import client, deliveries
from app.features.webhooks.service.client import Outcome
from app.features.webhooks.service.secrets import MAX_PREVIOUS_SECRETS
from app.features.webhooks.service.webhooks import MAX_WEBHOOKS
from tests.accounts.conftest import Outbox, verify_address
from tests.accounts.steps import (
    NEW_PASSWORD,
    change_and_confirm_email,
    post_to_auth,
    reset_password,
)
from tests.conftest import Person, delete_account, only
from tests.features.webhooks.receiver import Receiver, receiving, status
from tests.features.webhooks.steps import (
    DELETED,
    WEBHOOKS,
    change_webhooks,
    make,
    read,
    record,
    resources_of,
    send,
    stored,
    thing_event,
)
from tests.features.webhooks.steps import deliveries as list_deliveries
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import run_pending_tasks, until_blocked


async def test_event_is_sent_with_a_signature_after_the_commit(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, thing_event(ann.id, 3))
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("pending", 0)
    await resources_of(app).jobs.drain()
    (request,) = receiver.requests
    payload = request.verified(webhook["secret"])
    time = datetime.fromisoformat(payload.pop("timestamp"))
    assert time.tzinfo == UTC
    assert payload == {"type": "thing.created", "data": {"id": 3, "name": "Lamp"}}
    assert request.headers["webhook-id"] == delivery["message_id"]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    with pytest.raises(WebhookVerificationError):
        request.verified("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("succeeded", 1)
    assert (delivery["response_status"], delivery["error"]) == (204, None)
    assert isinstance(delivery["duration_ms"], int)
    assert delivery["next_attempt_at"] is None
    assert await stored(app, QueuedJob) == []


async def test_event_of_a_rolled_back_change_is_not_sent(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    with pytest.raises(ZeroDivisionError):
        async with resources_of(app).database.transaction() as session:
            session.info["events"] = [thing_event(ann.id)]
            raise ZeroDivisionError
    assert await list_deliveries(ann, webhook) == []
    await resources_of(app).jobs.drain()
    assert receiver.requests == []


async def test_events_are_sent_to_the_webhooks_of_the_owner_that_want_their_type(
    app: FastAPI, ann: Person, bob: Person, receiver: Receiver
) -> None:
    both = await make(ann, f"{receiver.url}/both")
    deleted = await make(ann, f"{receiver.url}/deleted", event_types=[DELETED])
    disabled = await make(ann, f"{receiver.url}/disabled", is_enabled=False)
    bobs = await make(bob, f"{receiver.url}/bob")
    events = [thing_event(ann.id, number) for number in range(1, 31)]
    await record(app, *events, thing_event(ann.id, 1, DELETED), thing_event(bob.id))
    await resources_of(app).jobs.drain()
    paths = Counter(request.path for request in receiver.requests)
    assert paths == {"/hook/both": 31, "/hook/deleted": 1, "/hook/bob": 1}
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 33
    assert await list_deliveries(ann, disabled) == []
    assert [each["event_type"] for each in await list_deliveries(ann, deleted)] == [DELETED]
    assert len(await list_deliveries(bob, bobs)) == 1
    for request in receiver.requests:
        if request.path == "/hook/both":
            request.verified(both["secret"])


async def test_failed_attempt_is_repeated_with_the_same_id(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [500, 302, 404]
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("pending", 1)
    assert delivery["response_status"] == 500
    failing_since = (await read(ann, webhook))["failing_since"]
    assert failing_since is not None
    (job,) = await stored(app, QueuedJob)
    assert job.run_at >= utc_now()
    assert job.lane == f"webhook {webhook['id']}"
    for _ in range(3):
        await send(app)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == 4
    assert receiver.requests[-1].verified(webhook["secret"])["type"] == "thing.created"
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("succeeded", 4)
    assert (await read(ann, webhook))["failing_since"] is None


async def test_pauses_grow_and_end_with_a_failure(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [503] * 20
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    pauses = []
    while jobs := await stored(app, QueuedJob):
        pauses.append(jobs[0].run_at - jobs[0].created_at)
        await send(app)
    assert len(pauses) == len(deliveries.PAUSES)
    for pause, least in zip(pauses, deliveries.PAUSES, strict=True):
        assert least <= pause <= least * (1 + deliveries.JITTER)
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("failed", len(pauses) + 1)
    assert (await read(ann, webhook))["is_enabled"]


async def test_delivery_is_sent_again_on_demand(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [500]
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    (delivery,) = await list_deliveries(ann, webhook)
    url = f"{WEBHOOKS}/{webhook['id']}/deliveries/{delivery['id']}"
    response = await ann.client.post(f"{url}/send")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    await send(app)  # The job of the attempt that was due later has nothing to do.
    assert len(receiver.requests) == 2
    details = (await ann.client.get(url)).json()
    assert (details["status"], details["attempts"]) == ("succeeded", 1)
    assert details["payload"].encode() == receiver.requests[0].body == receiver.requests[1].body
    assert (await ann.client.post(f"{url}/send")).status_code == 202
    await send(app)
    assert {each.headers["webhook-id"] for each in receiver.requests} == {delivery["message_id"]}
    assert len(receiver.requests) == 3


async def test_job_that_runs_twice_makes_one_attempt(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    receiver.responses = [500]
    await record(app, thing_event(ann.id))
    (job,) = await stored(app, QueuedJob)
    message_id, turn = job.arguments
    for _ in range(2):
        await send_webhook(resources_of(app), message_id, turn)
    await send_webhook(resources_of(app), "msg_of_a_deleted_webhook", 1)
    assert len(receiver.requests) == 1


async def test_response_410_disables_the_webhook_with_a_mail(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [410]
    await record(app, thing_event(ann.id, 1), thing_event(ann.id, 2))
    assert await outbox.to() == [(ann.email, "webhook_disabled")]
    found = await read(ann, webhook)
    assert (found["is_enabled"], found["disabled_reason"]) == (False, "gone")
    assert found["version"] == webhook["version"] + 1
    assert len(receiver.requests) == 1
    second, first = await list_deliveries(ann, webhook)
    assert (first["status"], first["response_status"]) == ("failed", 410)
    assert (second["status"], second["error"]) == ("failed", "The webhook is disabled.")
    await record(app, thing_event(ann.id, 3))
    assert len(await list_deliveries(ann, webhook)) == 2
    url = f"{WEBHOOKS}/{webhook['id']}"
    assert (await ann.client.post(f"{url}/test")).status_code == 409
    assert (await ann.client.post(f"{url}/deliveries/{first['id']}/send")).status_code == 409
    enabled = (await ann.client.patch(url, json={"is_enabled": True})).json()
    assert (enabled["disabled_reason"], enabled["failing_since"]) == (None, None)
    assert (await ann.client.post(f"{url}/deliveries/{first['id']}/send")).status_code == 202
    await outbox.settle()
    assert len(receiver.requests) == 2


async def test_failure_at_an_address_that_is_replaced_during_the_attempt_disables_nothing(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    new = {"url": f"{receiver.url}/new"}

    async def replace_the_address(writer: Any) -> None:
        replaced = await ann.client.patch(f"{WEBHOOKS}/{webhook['id']}", json=new)
        assert replaced.status_code == 200
        await status(410)(writer)

    receiver.responses = [replace_the_address]
    await record(app, thing_event(ann.id))
    assert await outbox.to() == []
    found = await read(ann, webhook)
    assert (found["is_enabled"], found["failing_since"]) == (True, None)
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["response_status"]) == ("pending", 410)
    await send(app)
    assert [request.path for request in receiver.requests] == ["/hook", "/hook/new"]


async def test_webhook_that_failed_for_days_is_disabled_with_a_mail(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [500, 500, 500]
    await record(app, thing_event(ann.id))
    assert await outbox.to() == []
    await change_webhooks(app, failing_since=utc_now() - timedelta(days=2, hours=23))
    await send(app)
    assert await outbox.to() == []
    await change_webhooks(app, failing_since=utc_now() - timedelta(days=3))
    await send(app)
    assert await outbox.to() == [(ann.email, "webhook_disabled")]
    found = await read(ann, webhook)
    assert (found["is_enabled"], found["disabled_reason"]) == (False, "failing")
    assert await stored(app, QueuedJob) == []


async def test_mail_about_a_disabled_webhook_names_it_and_the_reason(
    app: FastAPI, outbox: Outbox, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    receiver.responses = [410]
    await record(app, thing_event(ann.id))
    await outbox.settle()
    ((to, template, context),) = outbox.sent
    message = resources_of(app).mailer._compose(to, template, context)
    text, html = (part.get_content() for part in message.iter_parts())
    for content in (text, html):
        assert receiver.url in content
        assert "/webhooks/1/edit" in content
        assert "410" in content


async def test_slow_receiver_holds_up_no_other(
    app: FastAPI, ann: Person, bob: Person, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def wait(writer: Any) -> None:
        await released.wait()

    async with receiving() as slow:
        slow.responses = [wait] * 30
        await make(ann, slow.url)
        await make(bob, receiver.url)
        await record(app, *(thing_event(ann.id, number) for number in range(30)))
        await record(app, thing_event(bob.id))
        draining = asyncio.create_task(resources_of(app).jobs.drain())
        await receiver.arrived.wait()
        await slow.arrived.wait()
        await run_pending_tasks()
        assert len(slow.requests) == 1
        slow.responses.clear()
        released.set()
        await draining
        assert len(slow.requests) == 30


async def test_replaced_secret_signs_beside_the_new_one_for_a_day(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    response = await ann.client.post(f"{WEBHOOKS}/{webhook['id']}/secret")
    assert response.status_code == 200
    replaced = response.json()
    assert replaced["secret"] != webhook["secret"]
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    request = receiver.requests[0]
    assert len(request.headers["webhook-signature"].split()) == 2
    for secret in (webhook["secret"], replaced["secret"]):
        request.verified(secret)
    await change_webhooks(app, secret_replaced_at=utc_now() - timedelta(hours=24))
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    request = receiver.requests[1]
    request.verified(replaced["secret"])
    with pytest.raises(WebhookVerificationError):
        request.verified(webhook["secret"])


async def test_secrets_before_several_replacements_sign_for_a_day(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    """A client that gets no response replaces the secret again, and the receiver has the first."""
    secrets = [(await make(ann, receiver.url))["secret"]]
    for _ in range(MAX_PREVIOUS_SECRETS + 1):
        response = await ann.client.post(f"{WEBHOOKS}/1/secret")
        secrets.append(response.json()["secret"])
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    request = receiver.requests[0]
    for secret in secrets[1:]:
        request.verified(secret)
    with pytest.raises(WebhookVerificationError):
        request.verified(secrets[0])
    await change_webhooks(app, secret_replaced_at=utc_now() - timedelta(hours=24))
    replaced = (await ann.client.post(f"{WEBHOOKS}/1/secret")).json()
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    for secret in (secrets[-1], replaced["secret"]):
        receiver.requests[1].verified(secret)
    with pytest.raises(WebhookVerificationError):
        receiver.requests[1].verified(secrets[-2])


async def test_test_event_is_sent(app: FastAPI, ann: Person, receiver: Receiver) -> None:
    webhook = await make(ann, receiver.url)
    response = await ann.client.post(f"{WEBHOOKS}/{webhook['id']}/test")
    assert (response.status_code, response.json()["event_type"]) == (202, "webhook.test")
    await resources_of(app).jobs.drain()
    payload = receiver.requests[0].verified(webhook["secret"])
    assert payload["type"] == "webhook.test"
    assert payload["data"] == {"webhook_id": webhook["id"]}


async def test_webhook_that_is_deleted_meanwhile_gets_nothing(
    app: FastAPI, ann: Person, bob: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await make(bob, receiver.url)
    await record(app, thing_event(ann.id), thing_event(bob.id))
    assert (await ann.client.delete(f"{WEBHOOKS}/{webhook['id']}")).status_code == 204
    assert (await delete_account(bob)).status_code == 204
    await resources_of(app).jobs.drain()
    assert receiver.requests == []
    assert await stored(app, Webhook) == await stored(app, WebhookDelivery) == []


async def test_webhook_that_is_deleted_during_an_attempt_stays_deleted(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def wait(writer: Any) -> None:
        await released.wait()

    webhook = await make(ann, receiver.url)
    receiver.responses = [wait]
    await record(app, thing_event(ann.id))
    draining = asyncio.create_task(resources_of(app).jobs.drain())
    await receiver.arrived.wait()
    assert (await ann.client.delete(f"{WEBHOOKS}/{webhook['id']}")).status_code == 204
    released.set()
    await draining
    assert await stored(app, QueuedJob) == []


async def test_deactivated_owner_gets_nothing(
    app: FastAPI, ann: Person, root: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    await record(app, thing_event(ann.id))
    change = {"is_active": False}
    assert (await root.client.patch(f"/api/v1/users/{ann.id}", json=change)).status_code == 200
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    assert receiver.requests == []
    (delivery,) = await stored(app, WebhookDelivery)
    assert (delivery.status, delivery.error) == ("failed", "The webhook is disabled.")


@pytest.mark.parametrize("end", ["reset", "undo", "password by a superuser"])
async def test_webhook_of_a_thief_gets_nothing_once_the_owner_has_the_account_back(
    app: FastAPI,
    client: httpx.AsyncClient,
    ann: Person,
    receiver: Receiver,
    outbox: Outbox,
    end: str,
) -> None:
    """Whoever knew the password, or signed up with the owner's address, may have made it."""
    webhook = await make(ann, receiver.url)
    match end:
        case "reset":
            await post_to_auth(client, "password-reset", email=ann.email)
            token = await outbox.token(ann.email, "reset")
            assert await reset_password(client, token) == 204
        case "undo":
            await verify_address(app, ann)
            await change_and_confirm_email(client, outbox, ann, "thief@example.com")
            token = await outbox.token(ann.email, "undo")
            assert await post_to_auth(client, "undo-email", token=token) == 204
        case _:
            await resources_of(app).accounts.users.set_password(ann.id, NEW_PASSWORD)
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    assert receiver.requests == []
    (found,) = await stored(app, Webhook)
    assert (found.is_enabled, found.disabled_reason) == (False, "revoked")
    assert found.version == webhook["version"] + 1


@only("postgresql")  # SQLite locks no rows
async def test_revocation_locks_the_webhooks_in_the_order_in_which_events_do(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    """Otherwise each could hold a webhook that the other waits for."""
    database = resources_of(app).database
    first, second = [await make(ann, receiver.url) for _ in range(2)]
    lock = select(Webhook.id).with_for_update(nowait=True)
    async with database.transaction() as session:
        # A scan of the table meets the newest versions of rows last.
        changed = update(Webhook).where(Webhook.id == first["id"]).values(language="ko")
        await session.execute(changed)
    async with database.transaction() as session:
        await session.execute(lock.where(Webhook.id == first["id"]))
        revocation = asyncio.create_task(disable(app, ann.id))
        await until_blocked(app)
        await session.execute(lock.where(Webhook.id == second["id"]))
    await revocation
    assert not any(webhook.is_enabled for webhook in await stored(app, Webhook))


async def disable(app: FastAPI, owner_id: int) -> None:
    """Disable the webhooks of an owner, by a scan of the table."""
    async with resources_of(app).database.transaction() as session:
        for kind in ("indexscan", "bitmapscan"):
            await session.execute(text(f"SET LOCAL enable_{kind} = off"))
        await DeliveryUnit(session).disable([owner_id])


@pytest.mark.parametrize("is_new", [True, False])
async def test_webhook_is_not_enabled_by_a_request_that_outlives_its_session(
    app: FastAPI, ann: Person, receiver: Receiver, is_new: bool
) -> None:
    """The owner may have reset the password while the request of a thief was under way."""
    webhook = None if is_new else await make(ann, receiver.url)
    accounts = resources_of(app).accounts
    principal = await accounts.authenticate(ann.token)
    await accounts.users.set_password(ann.id, NEW_PASSWORD)
    service = build_service(resources_of(app), principal)
    with pytest.raises(Unauthenticated):
        if webhook is None:
            await service.create(WebhookCreate(url=receiver.url, event_types=[DELETED]))
        else:
            await service.update(webhook["id"], WebhookUpdate(is_enabled=True), None)
    assert [found.is_enabled for found in await stored(app, Webhook)] == [False] * (not is_new)


async def test_old_deliveries_are_deleted(
    app: FastAPI, ann: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, *(thing_event(ann.id, number) for number in range(5)))
    await resources_of(app).jobs.drain()
    await delete_old_webhook_deliveries(resources_of(app))
    assert len(await list_deliveries(ann, webhook)) == 5
    monkeypatch.setattr(deliveries, "RETENTION", timedelta(0))
    monkeypatch.setattr(deliveries, "BATCH_SIZE", 2)
    await delete_old_webhook_deliveries(resources_of(app))
    assert await list_deliveries(ann, webhook) == []


async def test_secret_of_an_unknown_key_is_a_failed_attempt(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await change_webhooks(app, sealed_secret="sealed with another key")
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    (delivery,) = await list_deliveries(ann, webhook)
    assert (delivery["status"], delivery["attempts"]) == ("pending", 1)
    assert delivery["error"] == deliveries.NO_SECRET
    assert receiver.requests == []
    replaced = (await ann.client.post(f"{WEBHOOKS}/{webhook['id']}/secret")).json()
    await send(app)
    receiver.requests[0].verified(replaced["secret"])


def test_outcome_is_a_success_for_2xx_only() -> None:
    for code in (200, 204, 299):
        assert Outcome(code).is_success
    for other in (None, 100, 199, 300, 302, 404, client.GONE, 500):
        assert not Outcome(other).is_success


async def test_webhooks_are_looked_up_once_for_each_owner(app: FastAPI, ann: Person) -> None:
    seen = list[str]()
    fetch = Session.fetch

    async def count(self: Session, query: Any, params: Any) -> Any:
        if query is SUBSCRIPTIONS:
            seen.append("look-up")
        return await fetch(self, query, params)

    with patch.object(Session, "fetch", count):
        await record(app, *(thing_event(ann.id, number) for number in range(100)))
    assert len(seen) == 1


async def test_many_slow_receivers_hold_up_no_quick_one(
    app: FastAPI, ann: Person, bob: Person, root: Person, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def wait(writer: Any) -> None:
        await released.wait()

    async with asyncio.timeout(DEADLINE_SECONDS), receiving() as slow:
        await make(root, receiver.url)
        await record(app, thing_event(root.id))
        await resources_of(app).jobs.drain()
        for owner in [ann, bob] * MAX_WEBHOOKS:
            await make(owner, slow.url)
        slow.responses.extend([wait] * MAX_WEBHOOKS * 2)
        await record(app, thing_event(ann.id), thing_event(bob.id))
        draining = asyncio.create_task(resources_of(app).jobs.drain())
        try:
            while len(slow.requests) < MAX_SLOW_LANES:
                await run_pending_tasks()
            receiver.arrived.clear()
            await record(app, thing_event(root.id))
            await resources_of(app).jobs._start_due_jobs()
            await receiver.arrived.wait()
            assert len(slow.requests) == MAX_SLOW_LANES
        finally:
            released.set()
            await draining
        assert len(slow.requests) == MAX_WEBHOOKS * 2
