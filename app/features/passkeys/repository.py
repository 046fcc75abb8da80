from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update

from app.accounts.repository import Accounts
from app.core.database.models import utc_now
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.errors import AlreadyExists, Conflict
from app.features.passkeys.models import Passkey, UsedPasskeyChallenge


class PasskeyRepository(Repository[Passkey]):
    model = Passkey

    async def find(self, credential_id: str) -> Passkey | None:
        return await self.one_or_none(select(Passkey).where(Passkey.credential_id == credential_id))

    async def add(self, record: Passkey) -> Passkey:
        """Add a passkey. Raise AlreadyExists if it belongs to an account."""
        try:
            return await super().add(record)
        except Conflict as error:
            raise AlreadyExists("This passkey belongs to an account already.") from error

    async def list(self, user_id: int) -> Sequence[Passkey]:
        statement = select(Passkey).where(Passkey.user_id == user_id)
        return (await self._session.scalars(statement.order_by(Passkey.created_at))).all()

    async def use(self, id_: UUID, user_id: int, sign_count: int, *, is_backed_up: bool) -> bool:
        """Note a use. Return False if the count has not grown, or the passkey is gone.

        Of several uses with one count, one gets True.
        """
        # A device that does not count always sends 0.
        grows = Passkey.sign_count < sign_count if sign_count else Passkey.sign_count == 0
        statement = update(Passkey).where(Passkey.id == id_, Passkey.user_id == user_id, grows)
        statement = statement.values(
            sign_count=sign_count, is_backed_up=is_backed_up, last_used_at=utc_now()
        )
        return await self._session.scalar(statement.returning(Passkey.id)) is not None

    async def rename(self, id_: UUID, user_id: int, name: str) -> Passkey | None:
        statement = update(Passkey).where(Passkey.id == id_, Passkey.user_id == user_id)
        return await self.one_or_none(statement.values(name=name).returning(Passkey))

    async def delete(self, id_: UUID, user_id: int) -> bool:
        statement = delete(Passkey).where(Passkey.id == id_, Passkey.user_id == user_id)
        return await self._session.scalar(statement.returning(Passkey.id)) is not None


class UsedChallengeRepository(Repository[UsedPasskeyChallenge]):
    model = UsedPasskeyChallenge

    async def use(self, challenge_hash: str, expires_at: datetime) -> bool:
        """Use a challenge. Of several calls, one gets True."""
        try:
            await self.add(UsedPasskeyChallenge(id=challenge_hash, expires_at=expires_at))
        except Conflict:
            return False
        return True

    async def clean_up(self) -> int:
        return await self.delete_some(UsedPasskeyChallenge.expires_at <= utc_now())


class Passkeys(Accounts):
    """The passkeys and the repositories of accounts, in one session."""

    def __init__(self, session: Session, *, verified_only: bool = False) -> None:
        super().__init__(session, verified_only=verified_only)
        self.passkeys = PasskeyRepository(session)
        self.used_challenges = UsedChallengeRepository(session)
