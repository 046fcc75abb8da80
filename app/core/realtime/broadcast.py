"""Publish and subscribe: events reach the listeners of this process, and by Redis of all others.

Delivery is at most once: an event that is published while there is no listener, or while a process
dies, is lost. So a listener that must not miss anything reads the database when it subscribes, and
again at each EVENTS_LOST.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from app.core.database.events import Event

EVENTS_LOST = "lost"  # a topic: its message says that events of any topic may have been lost
Listener = Callable[[str], None]
logger = logging.getLogger("app.broadcast")


class Broadcast:
    """A broadcast within this process. `RedisBroadcast` reaches the other processes too."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    @contextmanager
    def subscribed(self, topic: str, listener: Listener) -> Iterator[None]:
        """Call the listener with the JSON of each event of the topic, within the block.

        It has to return at once, since it runs while the publisher waits.
        """
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(listener)
        try:
            yield
        finally:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[topic]

    def publish(self, events: Iterable[Event]) -> None:
        """Publish events after their commit.

        Failures are logged and not raised, since the commit has succeeded. The method is not
        async: nothing can run between a commit and its events, so that they keep their order.
        """
        for event in events:
            try:
                message = event.model_dump_json()
                self._deliver(event.topic, message)
                self._forward(event.topic, message)
            except Exception:
                logger.exception("The event was not published: %r", event)

    def _deliver(self, topic: str, message: str) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            try:
                listener(message)
            except Exception:  # The other listeners still get the message.
                logger.exception("The message was not delivered: %s", message)

    def _forward(self, topic: str, message: str) -> None:
        """Send the message to the other processes."""
