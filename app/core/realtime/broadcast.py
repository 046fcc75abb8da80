"""Tells what has happened to whoever listens: in this process, and by Redis in the others.

At most once: what is told while nobody listens, or as the process dies, is gone. Who has to know
looks at what is stored as they begin to listen, and again after LOST.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from app.core.database.events import Event

LOST = "lost"  # the topic of: something may have been lost
Listener = Callable[[str], None]
logger = logging.getLogger("app.broadcast")


class Broadcast:
    """Within this process alone; `RedisBroadcast` reaches the others too."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    @contextmanager
    def listening(self, topic: str, listener: Listener) -> Iterator[None]:
        """`listener` gets the JSON of each event, and is quick: it holds up whoever published."""
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(listener)
        try:
            yield
        finally:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[topic]

    def publish(self, events: Iterable[Event]) -> None:
        """After the commit, and so never an error. Nothing is awaited between the two: what is
        committed first is published first, in this process."""
        for event in events:
            try:
                message = event.model_dump_json()
                self._tell(event.topic, message)
                self._forward(event.topic, message)
            except Exception:
                logger.exception("The event was not published: %r", event)

    def _tell(self, topic: str, message: str) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            try:
                listener(message)
            except Exception:  # of one is not the others'
                logger.exception("The message was not delivered: %s", message)

    def _forward(self, topic: str, message: str) -> None:
        """To the other processes."""
