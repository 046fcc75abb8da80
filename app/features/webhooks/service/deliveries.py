"""Queues the events of committed changes, and sends them: a job for each attempt."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from random import uniform
from typing import Any

from pydantic_core import to_json

from app.accounts.memory import Absences
from app.accounts.ownership import OwnedEvent
from app.core.database.events import Event
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.jobs.mail import Mailer
from app.core.jobs.queue import Call, JobQueue
from app.core.security.seals import InvalidSeal
from app.core.translation import mark
from app.features.webhooks.models import (
    DeliveryStatus,
    DisabledReason,
    Webhook,
    WebhookDelivery,
    new_message_id,
)
from app.features.webhooks.repository import Delivery, DeliveryRepository, DeliveryUnit
from app.features.webhooks.schemas import Subscription
from app.features.webhooks.service.client import GONE, Outcome, WebhookClient
from app.features.webhooks.service.secrets import WebhookSecrets

SEND = "send_webhook"
ENABLED_WEBHOOKS = "enabled webhooks"  # the kind of what is absent
# The pauses after failed attempts: ten attempts within three days and four hours.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = 0.1
# After a shorter outage, the next attempts follow about as soon anyway. And an event that the
# receiver alone refuses would use up its attempts while others succeed.
LONG_OUTAGE = timedelta(minutes=30)
MAX_WAITING = 5_000  # deliveries of a webhook; it misses what comes beyond
FULL_MAIL_AFTER = timedelta(days=1)
DISABLE_AFTER = timedelta(days=3)
RETENTION = timedelta(days=30)
BATCH_SIZE = 1000
DISABLED = mark("The webhook is disabled.")
NO_SECRET = mark("The secret cannot be read any more. Replace it.")


def payload_of(type_: str, data: Any, time: datetime) -> str:
    return to_json({"type": type_, "timestamp": time, "data": data}).decode()


def lane_of(webhook_id: int) -> str:
    """Return the lane of a webhook, so that a slow receiver holds up its own deliveries only."""
    return f"webhook {webhook_id}"


async def free_places(jobs: JobQueue, webhook_ids: Sequence[int]) -> Mapping[int, int]:
    """Return how many more deliveries may wait for each webhook."""
    waiting = await jobs.count_lanes([lane_of(id_) for id_ in webhook_ids])
    return {id_: max(0, MAX_WAITING - waiting[lane_of(id_)]) for id_ in webhook_ids}


async def queue_deliveries(
    deliveries: DeliveryRepository, jobs: JobQueue, payloads: Iterable[tuple[int, str, str]]
) -> list[str]:
    """Queue payloads, each with the id of its webhook and the type of its event.

    Return the ids of the messages.
    """
    rows, calls, now = list[dict[str, Any]](), list[Call](), utc_now()
    for webhook_id, type_, payload in payloads:
        message_id = new_message_id()
        row = {"webhook_id": webhook_id, "message_id": message_id, "event_type": type_}
        rows.append(row | {"payload": payload, "next_attempt_at": now})
        calls.append(Call([message_id, 1], lane_of(webhook_id)))
    if rows:
        await deliveries.add_many(rows)
        await jobs.enqueue_many(SEND, calls)
    return [row["message_id"] for row in rows]


class EventOutbox:
    """Queues the events of a transaction in that transaction, for the webhooks of their owners.

    It remembers the owners without webhooks.
    """

    def __init__(self, unit: DeliveryUnit, absences: Absences) -> None:
        self._unit = unit
        self._absences = absences

    async def add(self, events: Sequence[Event]) -> None:
        owned = [each for each in events if isinstance(each, OwnedEvent) and each.data is not None]
        for owner_id in sorted({event.owner_id for event in owned}):
            subscriptions = await self._subscriptions(owner_id)
            await self._queue(subscriptions, [each for each in owned if each.owner_id == owner_id])

    async def disable(self, owner_ids: Collection[int]) -> None:
        """Disable the webhooks of owners, who can enable them again."""
        await self._unit.disable(owner_ids)

    async def _queue(
        self, subscriptions: Sequence[Subscription], events: Sequence[OwnedEvent]
    ) -> None:
        """Queue events for the webhooks that want them, while fewer than MAX_WAITING wait."""
        types, now = {event.type for event in events}, utc_now()
        wanting = [each for each in subscriptions if types.intersection(each.event_types)]
        if not wanting:
            return
        bodies = [(event.type, payload_of(event.type, event.data, now)) for event in events]
        free = await free_places(self._unit.jobs, [each.id for each in wanting])
        queued = list[tuple[int, str, str]]()
        for webhook in wanting:
            wanted = [(webhook.id, *each) for each in bodies if each[0] in webhook.event_types]
            queued += wanted[: free[webhook.id]]
            if dropped := len(wanted[free[webhook.id] :]):
                await self._drop(webhook, dropped)
        await queue_deliveries(self._unit.deliveries, self._unit.jobs, queued)

    async def _drop(self, webhook: Subscription, count: int) -> None:
        """Note dropped events, and mail the owner unless some were dropped the day before."""
        last = webhook.last_dropped_at
        if last is None or utc_now() - last >= FULL_MAIL_AFTER:
            await self._unit.jobs.enqueue("send_webhook_full_mail", webhook.id, webhook.language)
        await self._unit.note_dropped(webhook.id, count)

    async def _subscriptions(self, owner_id: int) -> Sequence[Subscription]:
        if self._absences.has(owner_id, ENABLED_WEBHOOKS):
            return []
        change_count = self._absences.change_count
        found = await self._unit.subscriptions(owner_id)
        if not found:
            put = partial(self._absences.put, change_count, owner_id, ENABLED_WEBHOOKS)
            self._unit.after_commit(put)
        return found


class DeliveryService:
    """The background work on deliveries."""

    def __init__(
        self,
        units: UnitsOfWork[DeliveryUnit],
        secrets: WebhookSecrets,
        client: WebhookClient,
        mailer: Mailer,
        site_url: str,
    ) -> None:
        self._units = units
        self._secrets = secrets
        self._client = client
        self._mailer = mailer
        self._site_url = site_url

    async def send(self, message_id: str, turn: int) -> None:
        """Make an attempt, and queue the next one if it fails.

        If the process dies before the outcome is stored, the receiver gets the message twice.
        """
        async with self._units.reading() as unit:
            found = await unit.get(message_id)
        if found is None or found.row.turn != turn or found.row.status != DeliveryStatus.PENDING:
            return
        outcome = await self._attempt(found)
        async with self._units.transaction() as unit:
            locked = await unit.lock(found.webhook.id, found.row.id)
            if locked is not None and locked[1].turn == turn:
                await self._note(unit, *locked, outcome, found.webhook.url)

    async def _attempt(self, found: Delivery) -> Outcome:
        if not found.webhook.is_enabled or not found.is_owner_active:
            return Outcome(error=DISABLED)
        payload = found.row.payload
        try:
            headers = self._secrets.headers(found.webhook, found.row.message_id, payload)
        except InvalidSeal:
            return Outcome(error=NO_SECRET)
        fields = {"Content-Type": "application/json", "User-Agent": "webhooks/1.0"}
        return await self._client.post(found.webhook.url, fields | headers, payload.encode())

    async def _note(
        self,
        unit: DeliveryUnit,
        webhook: Webhook,
        delivery: WebhookDelivery,
        outcome: Outcome,
        url: str,
    ) -> None:
        """Store the outcome of an attempt at an address, and queue the next one if it failed."""
        delivery.attempts += 1
        delivery.last_attempt_at, delivery.next_attempt_at = utc_now(), None
        delivery.response_status, delivery.duration_ms = outcome.status, outcome.duration_ms
        delivery.error = outcome.error
        if outcome.is_success:
            delivery.status = DeliveryStatus.SUCCEEDED
            since, webhook.failing_since = webhook.failing_since, None
            if since and utc_now() - since >= LONG_OUTAGE:
                await hasten_attempts(unit.deliveries, unit.jobs, webhook.id)
            return
        delivery.status = DeliveryStatus.FAILED
        if outcome.error == DISABLED:
            return
        reason = None
        if webhook.url == url:  # Otherwise the owner has replaced the address that failed.
            webhook.failing_since = webhook.failing_since or utc_now()
            reason = reason_to_disable(webhook, outcome)
        if webhook.is_enabled and reason:
            webhook.is_enabled, webhook.disabled_reason = False, reason
            webhook.version += 1
            await unit.jobs.enqueue("send_webhook_disabled_mail", webhook.id, webhook.language)
        elif delivery.attempts <= len(PAUSES):
            pause = PAUSES[delivery.attempts - 1] * uniform(1, 1 + JITTER)  # noqa: S311 - no secret
            await queue_attempt(unit.jobs, delivery, pause)

    async def send_disabled_mail(self, webhook_id: int) -> None:
        """Mail the owner that a webhook is disabled, unless it is enabled again or deleted."""
        async with self._units.reading() as unit:
            found = await unit.get_with_email(webhook_id)
        if found is not None and found[0].disabled_reason is not None:
            webhook, email = found
            link = f"{self._site_url}/webhooks/{webhook.id}/edit"
            is_gone = webhook.disabled_reason == DisabledReason.GONE
            await self._mailer.send(
                email, "webhook_disabled", url=webhook.url, link=link, is_gone=is_gone
            )

    async def send_full_mail(self, webhook_id: int) -> None:
        """Mail the owner that events are dropped, unless the webhook is disabled or deleted."""
        async with self._units.reading() as unit:
            found = await unit.get_with_email(webhook_id)
        # SQLite gives the id of a deleted webhook to the next one, which has dropped nothing.
        if found is not None and found[0].is_enabled and found[0].last_dropped_at is not None:
            webhook, email = found
            page = f"{self._site_url}/webhooks/{webhook.id}"
            await self._mailer.send(
                email,
                "webhook_full",
                url=webhook.url,
                link=f"{page}/deliveries",
                edit_link=f"{page}/edit",
                count=MAX_WAITING,
            )

    async def clean_up(self) -> int:
        """Delete the deliveries that are older than RETENTION, and return their number."""
        deleted, before = 0, utc_now() - RETENTION
        while True:
            async with self._units.transaction() as unit:
                count = await unit.delete_before(before, BATCH_SIZE)
            deleted += count
            if count < BATCH_SIZE:
                return deleted

    async def renew_seals(self) -> tuple[int, int]:
        """Encrypt all secrets with the current SECRET_KEY.

        Return the number of webhooks whose secrets are encrypted, and of those whose key is
        unknown.
        """
        results, last = Counter[bool](), 0
        while True:
            async with self._units.transaction() as unit:
                webhooks = await unit.list_after(last, BATCH_SIZE)
                results.update(map(self._secrets.renew, webhooks))
            if not webhooks:
                return results[True], results[False]
            last = webhooks[-1].id


async def queue_attempt(jobs: JobQueue, delivery: WebhookDelivery, pause: timedelta) -> None:
    """Queue an attempt. An earlier job of the delivery does nothing any more."""
    delivery.turn += 1
    delivery.status, delivery.next_attempt_at = DeliveryStatus.PENDING, utc_now() + pause
    lane = lane_of(delivery.webhook_id)
    await jobs.enqueue(SEND, delivery.message_id, delivery.turn, delay=pause, lane=lane)


async def hasten_attempts(deliveries: DeliveryRepository, jobs: JobQueue, webhook_id: int) -> None:
    """Make the next attempts of the waiting deliveries of a webhook due now."""
    if calls := await jobs.hasten(lane_of(webhook_id)):
        await deliveries.note_due([str(message_id) for message_id, _ in calls])


def reason_to_disable(webhook: Webhook, outcome: Outcome) -> DisabledReason | None:
    if outcome.status == GONE:
        return DisabledReason.GONE
    since = webhook.failing_since
    return DisabledReason.FAILING if since and utc_now() - since >= DISABLE_AFTER else None
