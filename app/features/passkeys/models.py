from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.models import User
from app.core.database.models import Base, UtcDateTime, utc_now

MAX_CREDENTIAL_ID = 1364  # characters: 1,023 bytes (WebAuthn, section 4) in base64url
MAX_PUBLIC_KEY_BYTES = 2048
MAX_NAME = 100


class PasskeyEvent(StrEnum):
    ADDED = "passkey_added"
    REMOVED = "passkey_removed"
    CHECK = "passkey_check"
    CLONED = "passkey_cloned"


class Passkey(Base):
    """A credential of a user. The private key never leaves the user's devices.

    All passkeys of a user have one handle, by which a device finds them, and which says nothing of
    the user. `sign_count` grows with each use, unless the device does not count.
    """

    __tablename__ = "passkeys"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    user_handle: Mapped[str] = mapped_column(String(43))
    credential_id: Mapped[str] = mapped_column(String(MAX_CREDENTIAL_ID), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    transports: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(MAX_NAME))
    is_backed_up: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class UsedPasskeyChallenge(Base):
    """A challenge that was answered, and is refused until it has expired. Its hash is stored."""

    __tablename__ = "used_passkey_challenges"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


# `app.accounts.repository` reads these.
SIGN_IN_METHODS = [Passkey]
SECOND_FACTORS = [Passkey]
