from typing import ClassVar

from starlette.requests import Request

from app.core.translation import gettext
from app.features.webhooks.models import Webhook, WebhookDelivery
from app.features.webhooks.schemas import DeliveryRead, WebhookRead
from app.web.admin_site.view import AdminView


class WebhookAdmin(AdminView):
    """The read-only view of webhooks, without their secrets."""

    model = Webhook
    read_schema = WebhookRead
    columns = ("id", "url", "is_enabled", "failing_since", "owner_id", "created_at")
    search_fields = ("url", "description")
    sort_fields = ("id", "owner_id", "failing_since", "created_at")
    labels: ClassVar = {"url": "URL"}
    title_field = "url"
    filters = ("is_enabled", "owner_id")


def describe_error(delivery: DeliveryRead, _: Request) -> str:
    return gettext(delivery.error) if delivery.error else ""


class WebhookDeliveryAdmin(AdminView):
    """The read-only view of deliveries, without what was sent."""

    model = WebhookDelivery
    name = "Webhook delivery"
    plural = "Webhook deliveries"
    read_schema = DeliveryRead
    columns = (
        "id", "webhook_id", "event_type", "status", "attempts", "response_status", "duration_ms",
        "last_attempt_at", "error",
    )  # fmt: skip
    search_fields = ("event_type", "message_id")
    sort_fields = ("id", "webhook_id", "attempts", "last_attempt_at", "duration_ms")
    formats: ClassVar = {"error": describe_error}
    filters = ("status", "webhook_id")


VIEWS = [WebhookAdmin, WebhookDeliveryAdmin]
