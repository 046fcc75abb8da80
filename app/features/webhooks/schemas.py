from datetime import datetime
from typing import Annotated, Literal

from pydantic import MISSING, BaseModel, Field

from app.core.database.pagination import PageQuery, name_sorts
from app.core.schemas import Input, Output, Text
from app.core.translation import mark
from app.features.webhooks.models import DeliveryStatus, DisabledReason

SCOPES = {
    "webhooks:read": mark("Read webhooks and their deliveries."),
    "webhooks:write": mark("Create, change and delete webhooks."),
}

MAX_EVENT_TYPES = 100

Url = Annotated[
    str,
    Text(min_length=1, max_length=2000),
    Field(
        description="In production it begins with https://. Its host has a public address.",
        examples=["https://example.com/webhooks"],
    ),
]
Description = Annotated[str, Text(max_length=255), Field(examples=["Updates the search index."])]
EventTypes = Annotated[
    list[Annotated[str, Text(max_length=100)]],
    Field(
        min_length=1,
        max_length=MAX_EVENT_TYPES,
        description="Each is one of `GET /webhooks/event-types`.",
        examples=[["item.created", "item.deleted"]],
    ),
]


class WebhookCreate(Input):
    url: Url
    description: Description | None = None
    event_types: EventTypes
    is_enabled: bool = True


class WebhookUpdate(Input):
    """The fields to change. Omitted fields stay as they are; `null` is a value."""

    url: Url | MISSING = MISSING
    description: Description | MISSING | None = MISSING
    event_types: EventTypes | MISSING = MISSING
    is_enabled: bool | MISSING = MISSING


class WebhookRead(Output):
    id: int = Field(examples=[7])
    url: str = Field(examples=["https://example.com/webhooks"])
    description: str | None
    event_types: list[str] = Field(examples=[["item.created", "item.deleted"]])
    is_enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`gone` after a response 410, `failing` after days without a success, "
        "`revoked` together with all API keys. Null if it is enabled, or if you have disabled it."
    )
    failing_since: datetime | None = Field(description="The first failure since the last success.")
    dropped_events: int = Field(
        description="The events that were not queued, since too many deliveries were waiting. To "
        "set `is_enabled` to true resets it.",
        examples=[0],
    )
    last_dropped_at: datetime | None
    owner_id: int = Field(examples=[1])
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Counts the changes, from 1.", examples=[1])


class WebhookCreated(WebhookRead):
    secret: str = Field(
        description="The key of the signatures. It is shown once.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class WebhookSecret(Output):
    secret: str = Field(
        description="The new key of the signatures. It is shown once.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    previous_secret_until: datetime = Field(
        description="Until then, each request has a signature by the previous secret as well."
    )


class WebhookQuery(PageQuery):
    sort: Literal["id", "-id"] = Field(default="id", json_schema_extra=name_sorts)


class DeliveryRead(Output):
    id: int = Field(examples=[12])
    webhook_id: int = Field(examples=[7])
    message_id: str = Field(description="The `webhook-id` of each attempt.")
    event_type: str = Field(examples=["item.created"])
    status: DeliveryStatus
    attempts: int = Field(description="The attempts since it was queued, or sent again.")
    next_attempt_at: datetime | None = Field(description="Null if there is none.")
    last_attempt_at: datetime | None
    response_status: int | None = Field(description="Of the last attempt.", examples=[200])
    duration_ms: int | None = Field(description="Of the last attempt, in milliseconds.")
    error: str | None = Field(description="Why the last attempt had no response.")
    created_at: datetime


class DeliveryDetails(DeliveryRead):
    payload: str = Field(description="The body, as it is sent.")


class DeliveryQuery(PageQuery):
    sort: Literal["id", "-id"] = Field(default="-id", json_schema_extra=name_sorts)
    status: DeliveryStatus | None = None


class Subscription(BaseModel):
    """A webhook, as far as it decides which events are queued for it."""

    id: int
    event_types: list[str]
    last_dropped_at: datetime | None
    language: str
