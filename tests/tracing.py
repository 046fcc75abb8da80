"""Trace for coverage only what is worth it: tracing doubles the time of the code that it traces."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TRACERS = sys.gettrace(), threading.gettrace()


def start_tracing() -> None:
    tracer, thread_tracer = TRACERS
    sys.settrace(tracer)
    threading.settrace(thread_tracer)


def stop_tracing() -> None:
    sys.settrace(None)
    threading.settrace(None)


@contextmanager
def traced() -> Iterator[None]:
    """Trace the block."""
    start_tracing()
    try:
        yield
    finally:
        stop_tracing()
