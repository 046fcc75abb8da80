"""What has happened, told to whoever listens (`app.core.broadcast`) once it is committed."""

from abc import abstractmethod
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

KEY = "events"


class Event(BaseModel):
    """A fact, by ids: whoever hears of it looks at what is stored. Its JSON is what they hear."""

    model_config = ConfigDict(frozen=True)

    @property
    @abstractmethod
    def topic(self) -> str:
        """Whom it concerns: who listens for that hears of it."""


class Events:
    """Of one unit of work: `Database.transaction()` publishes them after its commit, in their
    order. What is rolled back has not happened."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def record(self, event: Event) -> None:
        self._session.info.setdefault(KEY, []).append(event)


def recorded(session: AsyncSession) -> Sequence[Event]:
    events: Sequence[Event] = session.info.get(KEY, ())
    return events
