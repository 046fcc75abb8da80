"""The stored idempotency keys and their first responses."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import LOCK_TIMEOUT_SECONDS
from app.core.database.models import Base, UtcDateTime, utc_now
from app.core.database.repository import Repository
from app.core.errors import Conflict, InProgress, LockTimeout

LIFETIME = timedelta(hours=24)
NO_RESPONSE = 0
LOCK_TIMEOUT = f"{LOCK_TIMEOUT_SECONDS}s"
CLEANUP_LIMIT = 100


class IdempotencyRecord(Base):
    """A key and its first response.

    A record with NO_RESPONSE is of a request that was not a success: it does not count.
    """

    __tablename__ = "idempotency_records"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[bytes]
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class IdempotencyRepository(Repository[IdempotencyRecord]):
    model = IdempotencyRecord

    async def reserve(self, user_id: int, key: str, fingerprint: bytes) -> bool:
        """Return whether this is the first request with the key.

        Wait for a running request with the key. If that fails, one of the waiting requests is the
        first. Call this before any other statement of the transaction, so that a request that waits
        holds no locks.
        """
        try:
            return await self._session.scalar(self._reserve(user_id, key, fingerprint)) is not None
        except IntegrityError as error:
            raise Conflict("The account has just been deleted.") from error
        except LockTimeout as error:
            raise InProgress(
                "The first request with this key is still in progress. Try again."
            ) from error

    def _reserve(self, user_id: int, key: str, fingerprint: bytes) -> Any:
        values = {
            "user_id": user_id,
            "key": key,
            "fingerprint": fingerprint,
            "status": NO_RESPONSE,
            "headers": {},
            "body": b"",
            "expires_at": utc_now() + LIFETIME,
        }
        columns = self.model.__table__.c
        row = select(*(literal(value, columns[name].type) for name, value in values.items()))
        insert: Any = sqlite.insert  # On SQLite, transactions do not overlap.
        if self._session.get_bind().dialect.name == "postgresql":
            insert = postgresql.insert
            # A pooler's connection may have another limit. Within the statement, setting it costs
            # no round trip.
            row = row.where(func.set_config("lock_timeout", LOCK_TIMEOUT, True) != "")
        statement = insert(self.model).from_select(list(values), row)
        return statement.on_conflict_do_update(
            index_elements=["user_id", "key"],
            set_={name: values[name] for name in ("fingerprint", "status", "expires_at")},
            where=or_(self.model.expires_at <= utc_now(), self.model.status == NO_RESPONSE),
        ).returning(literal(True))

    async def get(self, user_id: int, key: str) -> IdempotencyRecord | None:
        statement = select(self.model).where(self.model.user_id == user_id, self.model.key == key)
        return await self.one_or_none(statement)

    async def store(
        self, user_id: int, key: str, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        statement = update(self.model).where(self.model.user_id == user_id, self.model.key == key)
        await self._session.execute(statement.values(status=status, headers=headers, body=body))
        await self.clean_up()

    async def clean_up(self) -> int:
        """Delete some expired records, and return their number.

        Records that another transaction is deleting are left to it.
        """
        key = tuple_(self.model.user_id, self.model.key)
        expired = select(self.model.user_id, self.model.key)
        expired = expired.where(self.model.expires_at <= utc_now()).limit(CLEANUP_LIMIT)
        expired = expired.with_for_update(skip_locked=True)
        statement = delete(self.model).where(key.in_(expired)).returning(self.model.key)
        return len((await self._session.scalars(statement)).all())
