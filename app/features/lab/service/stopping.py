"""To hear early that the server is to stop."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def calling_at_stop(tell: Callable[[], None]) -> Iterator[None]:
    """A server lets open responses finish before it ends the lifespan. A stream that waits for the
    end of the lifespan would make it wait until its patience ends, which is 20 s."""
    loop = asyncio.get_running_loop()

    def after(previous: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(tell)
            previous(number, frame)

        return handle

    replaced: dict[signal.Signals, Handler] = {}
    if threading.current_thread() is threading.main_thread():  # no other may
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(number)
            if callable(previous):  # whoever has one is a server, or something like it
                replaced[number] = previous
                signal.signal(number, after(previous))
    try:
        yield
    finally:
        for number, previous in replaced.items():
            signal.signal(number, previous)
