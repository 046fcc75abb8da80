"""Events that a unit of work records, and that are published once it is committed."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

EVENTS_KEY = "events"
Publish = Callable[[Sequence["Event"]], object]


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
        self._session.info.setdefault(EVENTS_KEY, []).append(event)


def recorded_events(session: AsyncSession) -> Sequence[Event]:
    events: Sequence[Event] = session.info.get(EVENTS_KEY, ())
    return events


class CommitOrder:
    """Those under way. PostgreSQL lets the next writer go on before it answers the first one's
    COMMIT: the answers may cross. What is sent first is published first, topic by topic."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._pending = dict[str, dict[object, Sequence[Event] | None]]()  # by topic, in turn

    @contextmanager
    def reserve(self, events: Sequence[Event]) -> Iterator[None]:
        """Around the commit of what these tell of."""
        turn, topics = object(), {event.topic: None for event in events}
        for topic in topics:
            self._pending.setdefault(topic, {})[turn] = None
        committed = False
        try:
            yield
            committed = True
        finally:
            for topic in topics:
                own = [event for event in events if committed and event.topic == topic]
                self._pending[topic][turn] = own
                self._publish_committed(topic)

    def _publish_committed(self, topic: str) -> None:
        turns = self._pending[topic]
        for turn, events in [*turns.items()]:
            if events is None:
                return
            del turns[turn]
            self._publish(events)
        del self._pending[topic]
