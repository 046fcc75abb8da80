"""A callback for the signal that stops the server."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def call_on_shutdown(callback: Callable[[], None]) -> Iterator[None]:
    """Call the callback as soon as the process is asked to stop.

    The server ends the lifespan only after all responses are finished. A stream that waited for the
    end of the lifespan would delay the shutdown until the timeout of 20 s.
    """
    loop = asyncio.get_running_loop()

    def call_before(previous: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(callback)
            previous(number, frame)

        return handle

    replaced: dict[signal.Signals, Handler] = {}
    if threading.current_thread() is threading.main_thread():  # others cannot set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(number)
            if callable(previous):  # a server has set it
                replaced[number] = previous
                signal.signal(number, call_before(previous))
    try:
        yield
    finally:
        for number, previous in replaced.items():
            signal.signal(number, previous)
