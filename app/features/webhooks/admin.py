from typing import ClassVar

from app.core.translation import gettext
from app.features.webhooks.models import DeliveryStatus, Webhook, WebhookDelivery
from app.features.webhooks.schemas import DeliveryRead, WebhookRead
from app.web.admin_site.filters import BooleanFilter, ChoiceFilter, ValueFilter
from app.web.admin_site.texts import choice_label
from app.web.admin_site.view import AdminView


class WebhookAdmin(AdminView, model=Webhook):
    """The read-only view of webhooks, without their secrets."""

    icon = "fa-solid fa-bell"
    can_create = can_edit = can_delete = False
    read_schema = WebhookRead
    column_list = ("id", "url", "is_enabled", "failing_since", "owner_id", "created_at")
    column_searchable_list = ("url", "description")
    column_sortable_list = ("id", "owner_id", "failing_since", "created_at")
    column_default_sort = ("id", True)
    column_labels: ClassVar = {"url": "URL"}
    column_filters: ClassVar = [
        BooleanFilter(Webhook.is_enabled, "Enabled"),
        ValueFilter(Webhook.owner_id, "Owner", int),
    ]


class WebhookDeliveryAdmin(AdminView, model=WebhookDelivery):
    """The read-only view of deliveries, without what was sent."""

    name = "Webhook delivery"
    name_plural = "Webhook deliveries"
    icon = "fa-solid fa-paper-plane"
    can_create = can_edit = can_delete = False
    read_schema = DeliveryRead
    column_list = (
        "id", "webhook_id", "event_type", "status", "attempts", "response_status", "duration_ms",
        "last_attempt_at", "error",
    )  # fmt: skip
    column_searchable_list = ("event_type", "message_id")
    column_sortable_list = ("id", "webhook_id", "attempts", "last_attempt_at", "duration_ms")
    column_default_sort = ("id", True)
    column_formatters: ClassVar = {
        "status": lambda delivery, _: choice_label(delivery.status),
        "error": lambda delivery, _: gettext(delivery.error) if delivery.error else "",
    }
    column_formatters_detail: ClassVar = column_formatters
    column_filters: ClassVar = [
        ChoiceFilter(WebhookDelivery.status, "Status", DeliveryStatus),
        ValueFilter(WebhookDelivery.webhook_id, "Webhook", int),
    ]


VIEWS = [WebhookAdmin, WebhookDeliveryAdmin]
