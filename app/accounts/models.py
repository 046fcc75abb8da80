import unicodedata
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from pydantic import validate_email
from pydantic_core import PydanticCustomError
from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.models import Base, Id, Timestamps, UtcDateTime, utc_now
from app.core.storage.uploads import ImageStatus

# The hash of an account without a password. No password has it.
NO_PASSWORD = "!"  # noqa: S105 - not a password


def email_key(email: str) -> str:
    """Return the key of an email address: spellings with one key are one address.

    Case, compatibility forms, the ASCII form of a domain, blanks around the address and a display
    name make no difference. A text that is not an address has a key that no account has.
    """
    with suppress(PydanticCustomError):
        _, email = validate_email(email)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold())


class User(Timestamps, Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_hash: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)
    is_superuser: Mapped[bool] = mapped_column(default=False)
    # The keys are those of the storage. A job makes the picture of the upload.
    picture_key: Mapped[str | None] = mapped_column(String(100))
    picture_size: Mapped[int | None]
    picture_upload_key: Mapped[str | None] = mapped_column(String(100))
    # Why the last upload did not become the picture.
    picture_error: Mapped[str | None] = mapped_column(String(20))

    @property
    def picture_status(self) -> ImageStatus:
        if self.picture_upload_key is not None:
            return ImageStatus.PENDING
        if self.picture_error is not None:
            return ImageStatus(self.picture_error)
        return ImageStatus.READY if self.picture_key is not None else ImageStatus.NONE

    @property
    def is_verified(self) -> bool:
        return self.email_verified_at is not None

    @property
    def has_password(self) -> bool:
        return self.password_hash != NO_PASSWORD


class AuthSession(Base):
    """A device that is signed in. Its access tokens name it, and end when it is deleted.

    A browser has a cookie instead of tokens.
    """

    __tablename__ = "auth_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    scope: Mapped[str] = mapped_column(Text)
    cookie_hash: Mapped[str | None] = mapped_column(String(64), unique=True, index=True)
    user_agent: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(45))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    # The time at which the user last entered the password, or proved in another way to be there.
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The time at which the user last used a second factor, to sign in or to confirm.
    factor_confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class RefreshToken(Base):
    """A refresh token. Used ones stay as long as their session, so that their reuse is noticed.

    A token has several successors when its client lost the response and tried again.
    """

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    parent_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey(AuthSession.id, ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A key by which a program acts for its user. It ends when it is deleted."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(20))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)

    @property
    def scopes(self) -> list[str]:
        return self.scope.split()


class EmailToken(Base):
    """A token in a mail's link, which proves once that its holder reads the mail of `email`."""

    __tablename__ = "email_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(320))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class SecondFactor(Base):
    """The authenticator app of a user, whose codes (TOTP, RFC 6238) are asked for at sign-in."""

    __tablename__ = "second_factors"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    sealed_secret: Mapped[str] = mapped_column(Text)
    # The time step of the last accepted code. Codes of this step and before it are refused.
    last_step: Mapped[int] = mapped_column(BigInteger)
    enabled_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class RecoveryCode(Base):
    """A code that replaces the authenticator app once. It is deleted when it is used."""

    __tablename__ = "recovery_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)


class SignInChallenge(Base):
    """A sign-in whose password was right, and whose second factor has not been checked yet."""

    __tablename__ = "sign_in_challenges"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class UndoRecord(Base):
    """Copies of rows of one table that a user has deleted."""

    __tablename__ = "undo_records"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    table_name: Mapped[str] = mapped_column(String(63))
    rows: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The values by the names of their attributes. Empty when the rows have been restored."""
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class EventKind(StrEnum):
    SIGN_IN = "sign_in"
    PASSWORD_CHECK = "password_check"  # noqa: S105 - not a password
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - not a token
    SESSION_ENDED = "session_ended"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - not a password
    PASSWORD_RESET = "password_reset"  # noqa: S105 - not a password
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_CHANGED = "email_changed"
    EMAIL_CONFIRMED = "email_confirmed"
    EMAIL_RESTORED = "email_restored"
    API_KEY_CREATED = "api_key_created"
    API_KEY_FIRST_USED = "api_key_first_used"
    API_KEY_REVOKED = "api_key_revoked"
    SECOND_FACTOR_ENABLED = "second_factor_enabled"
    SECOND_FACTOR_DISABLED = "second_factor_disabled"
    SECOND_FACTOR_REQUESTED = "second_factor_requested"
    SECOND_FACTOR_CHECK = "second_factor_check"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"
    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"
    USER_ACTIVATED = "user_activated"
    USER_DEACTIVATED = "user_deactivated"
    ROLE_CHANGED = "role_changed"
    USER_DELETED = "user_deleted"


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


class SecurityEvent(Base):
    """An event of an account, which outlives the account: no foreign key refers to it.

    The subject is the user whom it happened to, and the actor the user who did it. A failed sign-in
    with an address of no account has a keyed hash of the address instead of a subject. The event of
    an API key has the key's id for its session.
    """

    __tablename__ = "security_events"
    __table_args__ = (Index(None, "subject_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)
    kind: Mapped[str] = mapped_column(String(40))
    outcome: Mapped[str] = mapped_column(String(10))
    subject_id: Mapped[int | None] = mapped_column(Id)
    email_hash: Mapped[str | None] = mapped_column(String(64))
    actor_id: Mapped[int | None] = mapped_column(Id)
    session_id: Mapped[UUID | None]
    address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))
