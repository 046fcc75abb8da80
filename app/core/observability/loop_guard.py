"""A middleware that reports which request blocks the event loop, and on which line.

The event loop runs a heartbeat every 20 ms. While a heartbeat is overdue, a thread samples what the
loop is running. If the heartbeat then comes far too late, the most frequent sample is logged. The
application adds it only in the environment `local`, where such code is written.
"""

import asyncio
import linecache
import logging
import os
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from traceback import walk_stack
from types import FrameType
from typing import NamedTuple
from urllib.parse import quote
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.context import request_id_var
from app.core.http.scope import route_of

HEARTBEAT_SECONDS = 0.02
BLOCKED_SECONDS = 0.1
LIBRARIES = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<frozen")

BLOCKED_MESSAGE = "The event loop was blocked for %d ms by %s, at %s"

logger = logging.getLogger("app.loop")


class Sample(NamedTuple):
    """The code that the event loop was running at one moment."""

    request_id: str | None
    endpoint: str
    line: str


class LoopGuard:
    """The middleware, whose thread runs as long as the application's lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._scopes: WeakKeyDictionary[asyncio.Task[object], Scope] = WeakKeyDictionary()
        self._samples: Counter[Sample] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            with self._running_thread():
                return await self.app(scope, receive, send)
        task = asyncio.current_task()
        assert task  # noqa: S101 - for mypy: a coroutine always runs in a task
        self._scopes[task] = scope
        try:
            await self.app(scope, receive, send)
        finally:
            self._scopes.pop(task, None)

    @contextmanager
    def _running_thread(self) -> Iterator[None]:
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._stopped = threading.Event()
        self._heartbeat(monotonic())
        threading.Thread(target=self._watch, name="loop guard", daemon=True).start()
        try:
            yield
        finally:
            self._next_heartbeat.cancel()
            self._stopped.set()

    def _heartbeat(self, due: float) -> None:
        delay, samples = monotonic() - due, self._samples
        self._samples = Counter()
        self._due = monotonic() + HEARTBEAT_SECONDS
        self._next_heartbeat = self._loop.call_later(HEARTBEAT_SECONDS, self._heartbeat, self._due)
        if delay > BLOCKED_SECONDS and samples:
            sample = samples.most_common(1)[0][0]
            token = request_id_var.set(sample.request_id)
            logger.warning(BLOCKED_MESSAGE, 1000 * delay, sample.endpoint, sample.line)
            request_id_var.reset(token)

    def _watch(self) -> None:
        """Take samples while a heartbeat is overdue. This runs in its own thread."""
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            if monotonic() > self._due + HEARTBEAT_SECONDS and (sample := self._take_sample()):
                self._samples[sample] += 1

    def _take_sample(self) -> Sample | None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)
        if task is None or frame is None:  # The loop is idle: the machine itself is overloaded.
            return None
        scope = self._scopes.get(task)
        if scope is None:
            return None
        return Sample(scope.get("request_id"), endpoint_of(scope), line_of(frame))


def endpoint_of(scope: Scope) -> str:
    return f"{scope.get('method', 'WebSocket')} {route_of(scope) or quote(scope['path'])}"


def line_of(frame: FrameType) -> str:
    """Return the innermost line of the frame's stack that does not belong to a library."""
    # A frame that is read while it runs may have no line.
    stack = [(frame.f_code, number or 0) for frame, number in walk_stack(frame)]
    own_code = [entry for entry in stack if not entry[0].co_filename.startswith(LIBRARIES)]
    code, number = (own_code or stack)[0]
    text = linecache.getline(code.co_filename, number).strip()
    return f"{os.path.relpath(code.co_filename)}:{number} in {code.co_name}: {text}"
