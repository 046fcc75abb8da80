from typing import Annotated

from fastapi import Query, Response, Security

from app.accounts.dependencies import require_confirmed_session
from app.core.database.pagination import Page
from app.core.errors import Conflict, PasswordRequired, TooManyRequests
from app.core.http.conditional import IfMatch
from app.core.http.problem_kinds import problem_response
from app.core.http.routing import ApiRouter
from app.features.webhooks.dependencies import ReadWebhooks, WriteWebhooks
from app.features.webhooks.schemas import (
    DeliveryDetails,
    DeliveryQuery,
    DeliveryRead,
    WebhookCreate,
    WebhookCreated,
    WebhookQuery,
    WebhookRead,
    WebhookSecret,
    WebhookUpdate,
)

FULL = problem_response(Conflict, "You have as many webhooks as are allowed")
NOT_CONFIRMED = problem_response(PasswordRequired, "The session was not confirmed recently")
SENDS = problem_response(Conflict, "The webhook is disabled") | problem_response(
    TooManyRequests, "You have sent too much on demand"
)

# A webhook goes on sending when a stolen access token has ended.
CONFIRMED = [Security(require_confirmed_session, scopes=["webhooks:write"])]

router = ApiRouter(prefix="/webhooks", tags=["webhooks"])


# Without an Idempotency-Key: the stored response would hold the secret.
@router.post("", status_code=201, responses=FULL | NOT_CONFIRMED, dependencies=CONFIRMED)
async def create_webhook(data: WebhookCreate, webhooks: WriteWebhooks) -> WebhookCreated:
    """Create a webhook. The response has the key of its signatures, which is not shown again."""
    return await webhooks.create(data)


@router.get("")
async def list_webhooks(
    query: Annotated[WebhookQuery, Query()], webhooks: ReadWebhooks
) -> Page[WebhookRead]:
    """List your webhooks, a page at a time."""
    return await webhooks.list(query)


@router.get("/event-types")
async def list_webhook_event_types(webhooks: ReadWebhooks) -> list[str]:
    """List the types of events that your webhooks can have sent."""
    return webhooks.event_types()


# Without 304: dropped events and failures change it without a new version.
@router.get("/{webhook_id}")
async def read_webhook(webhook_id: int, webhooks: ReadWebhooks) -> WebhookRead:
    """Get a webhook."""
    return await webhooks.get(webhook_id)


@router.put("/{webhook_id}", responses=NOT_CONFIRMED, dependencies=CONFIRMED)
async def replace_webhook(
    webhook_id: int, data: WebhookCreate, webhooks: WriteWebhooks, expected: IfMatch
) -> WebhookRead:
    """Replace a webhook; omitted fields get their defaults. Its secret stays."""
    return await webhooks.update(webhook_id, data, expected)


@router.patch("/{webhook_id}", responses=NOT_CONFIRMED, dependencies=CONFIRMED)
async def update_webhook(
    webhook_id: int, data: WebhookUpdate, webhooks: WriteWebhooks, expected: IfMatch
) -> WebhookRead:
    """Change the fields that are sent. `null` is a value; omitted fields stay as they are."""
    return await webhooks.update(webhook_id, data, expected)


@router.delete("/{webhook_id}", status_code=204, response_class=Response)
async def delete_webhook(webhook_id: int, webhooks: WriteWebhooks, expected: IfMatch) -> None:
    """Delete a webhook with its deliveries. Events that are queued are not sent any more."""
    await webhooks.delete(webhook_id, expected)


@router.post("/{webhook_id}/secret", responses=NOT_CONFIRMED, dependencies=CONFIRMED)
async def replace_webhook_secret(webhook_id: int, webhooks: WriteWebhooks) -> WebhookSecret:
    """Replace the key of the signatures. For a day, there is one by the previous key as well."""
    return await webhooks.replace_secret(webhook_id)


@router.post("/{webhook_id}/test", status_code=202, responses=SENDS)
async def test_webhook(webhook_id: int, webhooks: WriteWebhooks) -> DeliveryRead:
    """Send an event of the type `webhook.test`."""
    return await webhooks.send_test(webhook_id)


@router.get("/{webhook_id}/deliveries")
async def list_webhook_deliveries(
    webhook_id: int, query: Annotated[DeliveryQuery, Query()], webhooks: ReadWebhooks
) -> Page[DeliveryRead]:
    """List the deliveries of a webhook of the last 30 days, newest first."""
    return await webhooks.list_deliveries(webhook_id, query)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
async def read_webhook_delivery(
    webhook_id: int, delivery_id: int, webhooks: ReadWebhooks
) -> DeliveryDetails:
    """Get a delivery with its payload."""
    return await webhooks.get_delivery(webhook_id, delivery_id)


@router.post("/{webhook_id}/deliveries/{delivery_id}/send", status_code=202, responses=SENDS)
async def send_webhook_delivery(
    webhook_id: int, delivery_id: int, webhooks: WriteWebhooks
) -> DeliveryRead:
    """Send a delivery again, with the same `webhook-id`."""
    return await webhooks.send_again(webhook_id, delivery_id)
