from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.models import User
from app.core.config import Settings
from app.core.database.models import Base, UtcDateTime, utc_now

MAX_SUBJECT = 255  # OpenID Connect Core, section 2


class IdentityEvent(StrEnum):
    LINKED = "identity_linked"
    UNLINKED = "identity_unlinked"
    CHECK = "identity_check"


class LinkedIdentity(Base):
    """A user's account at a provider, which signs the user in here.

    The provider is named by its issuer, and the account there by its subject, which never change.
    `email` is the address that the provider told at the link, by which the user recognizes it.
    """

    __tablename__ = "linked_identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"), Index(None, "user_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(MAX_SUBJECT))
    email: Mapped[str | None] = mapped_column(String(320))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @classmethod
    def is_usable(cls, settings: Settings) -> ColumnElement[bool]:
        """Return the condition of identities whose provider is configured."""
        return cls.issuer.in_([provider.issuer for provider in settings.oidc_providers])


# `app.accounts.repository` reads it.
SIGN_IN_METHODS = [LinkedIdentity]
