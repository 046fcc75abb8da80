from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, select, update

from app.accounts.repository import Accounts
from app.core.database.models import utc_now
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.errors import AlreadyExists, Conflict
from app.features.identities.models import LinkedIdentity


class IdentityRepository(Repository[LinkedIdentity]):
    model = LinkedIdentity

    async def find(self, issuer: str, subject: str) -> LinkedIdentity | None:
        return await self.one_or_none(
            select(LinkedIdentity).where(
                LinkedIdentity.issuer == issuer, LinkedIdentity.subject == subject
            )
        )

    async def add(self, record: LinkedIdentity) -> LinkedIdentity:
        """Link an identity. Raise AlreadyExists if it is linked to an account."""
        try:
            return await super().add(record)
        except Conflict as error:
            raise AlreadyExists("This sign-in is linked to an account already.") from error

    async def touch(self, id_: UUID, user_id: int) -> bool:
        """Note a use. Return False if the identity is not linked to the user any more."""
        statement = update(LinkedIdentity).values(last_used_at=utc_now())
        statement = statement.where(LinkedIdentity.id == id_, LinkedIdentity.user_id == user_id)
        return await self._session.scalar(statement.returning(LinkedIdentity.id)) is not None

    async def list(self, user_id: int) -> Sequence[LinkedIdentity]:
        statement = select(LinkedIdentity).where(LinkedIdentity.user_id == user_id)
        return (await self._session.scalars(statement.order_by(LinkedIdentity.created_at))).all()

    async def delete(self, id_: UUID, user_id: int) -> bool:
        statement = delete(LinkedIdentity).where(
            LinkedIdentity.id == id_, LinkedIdentity.user_id == user_id
        )
        return await self._session.scalar(statement.returning(LinkedIdentity.id)) is not None


class Identities(Accounts):
    """The identities and the repositories of accounts, in one session."""

    def __init__(self, session: Session, *, verified_only: bool = False) -> None:
        super().__init__(session, verified_only=verified_only)
        self.identities = IdentityRepository(session)
