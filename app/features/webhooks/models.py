from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, Timestamps, UtcDateTime, Versioned, utc_now


class DisabledReason(StrEnum):
    GONE = "gone"
    FAILING = "failing"
    REVOKED = "revoked"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Webhook(Owned, Timestamps, Versioned, Base):
    """An address that the events of its owner's records are sent to."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("length(url) BETWEEN 1 AND 2000", "url_length"),
        CheckConstraint("length(description) <= 255", "description_length"),
        CheckConstraint("version >= 1", "version_from_one"),
        Index(None, "owner_id", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str | None] = mapped_column(String(255))
    event_types: Mapped[list[str]] = mapped_column(JSON)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    # Why the application has disabled it, if it was not the owner.
    disabled_reason: Mapped[str | None] = mapped_column(String(20))
    # The first failure since the last success.
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The events that were not queued, since too many deliveries were waiting.
    dropped_events: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_dropped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sealed_secret: Mapped[str] = mapped_column(Text)
    # The secrets before, separated by spaces. Their signatures are sent as well for a while after
    # the last replacement.
    sealed_previous_secret: Mapped[str | None] = mapped_column(Text)
    secret_replaced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Of the request that created it, for the mail that it is disabled.
    language: Mapped[str] = mapped_column(String(20))


def new_message_id() -> str:
    return f"msg_{uuid4().hex}"


class WebhookDelivery(Base):
    """An event for one webhook, and the outcome of the last attempt to send it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index(None, "webhook_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey(Webhook.id, ondelete="CASCADE"))
    # The receiver recognizes an event that it gets twice by it.
    message_id: Mapped[str] = mapped_column(String(50), unique=True, default=new_message_id)
    event_type: Mapped[str] = mapped_column(String(100))
    payload: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default=DeliveryStatus.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    # The number of the job that may send it next. A job with another number is out of date.
    turn: Mapped[int] = mapped_column(default=1)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    response_status: Mapped[int | None]
    duration_ms: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)


# The migration's trigger, which notifies the processes of a user who gets an enabled webhook.
NOTIFYING_TRIGGERS = [("webhooks", "notify_webhook_enabled")]
