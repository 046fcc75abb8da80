from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from app.accounts.models import AuthSession, User
from app.core.orm import utc_now
from app.core.repository import Repository


class AccountRepository(Repository[User]):
    model = User

    async def get(self, user_id: int) -> User | None:
        return await self.one(select(User).where(User.id == user_id))

    async def get_by_email(self, email_key: str) -> User | None:
        if "\x00" in email_key:  # nobody's, and PostgreSQL cannot be asked
            return None
        return await self.one(select(User).where(User.email_key == email_key))

    async def is_superuser(self, user_id: int, session_id: UUID) -> bool | None:
        """None when the user may call no more: deactivated, deleted, or the session is over."""
        statement = (
            select(User.is_superuser)
            .join(AuthSession, AuthSession.user_id == User.id)
            .where(User.id == user_id, User.is_active)
            .where(AuthSession.id == session_id, AuthSession.expires_at > utc_now())
        )
        return await self._session.scalar(statement)

    async def get_unchanged(self, seen: User) -> User | None:
        """The same user, kept from changing until the commit; None when the password is another
        than was `seen`, or the user was deactivated."""
        statement = select(User).where(User.id == seen.id, User.is_active)
        statement = statement.where(User.password_hash == seen.password_hash)
        return await self.one(statement.with_for_update(read=True))

    async def open_session(self, user: User, expires_at: datetime) -> AuthSession:
        session = AuthSession(user_id=user.id, expires_at=expires_at)
        self._session.add(session)
        await self._session.flush()
        return session
