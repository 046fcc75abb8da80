from uuid import UUID

from app.core.database.events import Event
from app.core.realtime.sockets import session_topic


class SessionEnded(Event):
    session_id: UUID

    @property
    def topic(self) -> str:
        return session_topic(self.session_id)


class UserChanged(Event):
    """An event about a change of a user or role, which ends what is remembered of the user."""

    user_id: int

    @property
    def topic(self) -> str:
        return f"users/{self.user_id}"


class KeysRevoked(Event):
    """An event about the end of all API keys of a user.

    Whoever knew the password may have made them, and whatever else acts for the user by itself.
    """

    user_id: int

    @property
    def topic(self) -> str:
        return f"users/{self.user_id}"
