"""Background jobs of webhooks, and what a transaction adds to itself before its commit."""

from collections.abc import Sequence

from app.accounts.events import KeysRevoked
from app.core.database.events import Event
from app.core.database.session import Session
from app.core.jobs.schedule import scheduled
from app.core.resources import Resources
from app.core.translation import ENGLISH, use_language
from app.features.webhooks.dependencies import build_deliveries, build_outbox


async def queue_webhooks(resources: Resources, session: Session, events: Sequence[Event]) -> None:
    await build_outbox(resources, session).add(events)


async def disable_webhooks(resources: Resources, session: Session, events: Sequence[Event]) -> None:
    """Disable webhooks together with API keys: a thief of the account may have made them."""
    if owner_ids := {event.user_id for event in events if isinstance(event, KeysRevoked)}:
        await build_outbox(resources, session).disable(owner_ids)


async def send_webhook(resources: Resources, message_id: str, turn: int) -> None:
    await build_deliveries(resources).send(message_id, turn)


async def send_webhook_disabled_mail(
    resources: Resources, webhook_id: int, language: str = ENGLISH
) -> None:
    with use_language(language):
        await build_deliveries(resources).send_disabled_mail(webhook_id)


async def send_webhook_full_mail(
    resources: Resources, webhook_id: int, language: str = ENGLISH
) -> None:
    with use_language(language):
        await build_deliveries(resources).send_full_mail(webhook_id)


@scheduled("50 3 * * *")
async def delete_old_webhook_deliveries(resources: Resources) -> None:
    await build_deliveries(resources).clean_up()


BEFORE_COMMIT = [disable_webhooks, queue_webhooks]
JOBS = [
    send_webhook,
    send_webhook_disabled_mail,
    send_webhook_full_mail,
    delete_old_webhook_deliveries,
]
