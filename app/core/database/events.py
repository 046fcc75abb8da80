"""Domain events: a unit of work records them, and they are published after its commit."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

EVENTS_KEY, CALLS_KEY = "events", "calls_after_commit"
logger = logging.getLogger("app.database")
Publish = Callable[[Sequence["Event"]], object]


class Event(BaseModel):
    """A fact that was committed.

    Listeners get it as JSON, which names what has changed and not the new values, so that they read
    the current state from the database.
    """

    model_config = ConfigDict(frozen=True)

    @property
    @abstractmethod
    def topic(self) -> str:
        """Return the topic to publish the event to, for example the owner's."""


class Events:
    """The events of one unit of work.

    `Database.transaction()` publishes them in their order after its commit. A rollback discards
    them.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def record(self, event: Event) -> None:
        self._session.info.setdefault(EVENTS_KEY, []).append(event)


def recorded_events(session: AsyncSession) -> Sequence[Event]:
    events: Sequence[Event] = session.info.get(EVENTS_KEY, ())
    return events


def after_commit(session: AsyncSession, call: Callable[[], object]) -> None:
    """Call a function once the transaction is committed, and never if it is rolled back.

    It is for what is neither a job nor an event, such as forgetting a cached value: if the process
    dies right after the commit, the call is lost. Its errors are logged, since the commit stands.
    """
    session.info.setdefault(CALLS_KEY, []).append(call)


def call_after_commit(session: AsyncSession) -> None:
    for call in session.info.pop(CALLS_KEY, ()):
        try:
            call()
        except Exception:
            logger.exception("A call after a commit failed")


def discard_events(session: AsyncSession) -> None:
    """Forget the events and the calls of a transaction that is rolled back."""
    session.info.pop(EVENTS_KEY, None)
    session.info.pop(CALLS_KEY, None)


class CommitOrder:
    """Publishes the events of each topic in the order in which their commits were sent.

    PostgreSQL lets the next writer continue before it responds to the first one's COMMIT, so that
    the responses may arrive in another order.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._pending = dict[
            str, dict[object, Sequence[Event] | None]
        ]()  # by topic, then by commit

    @contextmanager
    def reserve(self, events: Sequence[Event]) -> Iterator[None]:
        """Reserve the next place in the order of each topic. Commit the events in this block."""
        commit, topics = object(), {event.topic: None for event in events}
        for topic in topics:
            self._pending.setdefault(topic, {})[commit] = None
        committed = False
        try:
            yield
            committed = True
        finally:
            for topic in topics:
                publishable = [event for event in events if committed and event.topic == topic]
                self._pending[topic][commit] = publishable
                self._publish_committed(topic)

    def _publish_committed(self, topic: str) -> None:
        pending = self._pending[topic]
        for commit, events in [*pending.items()]:
            if events is None:  # This commit has no response yet, and the others come after it.
                return
            del pending[commit]
            self._publish(events)
        del self._pending[topic]
