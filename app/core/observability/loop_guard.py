"""Says which request blocks the event loop, and on which line. For `local`, where such code is
written; elsewhere it is not even added.

The loop beats every 20 ms. While a beat is overdue, a thread looks at what the loop is running;
when it comes at last, and far too late, what was seen most often is named.
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

BEAT_SECONDS = 0.02
BLOCKED_SECONDS = 0.1
LIBRARIES = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<frozen")

BLOCKED = "The event loop was blocked for %d ms by %s, at %s"

logger = logging.getLogger("app.loop")


class Sight(NamedTuple):
    """What the loop was seen at."""

    request_id: str | None
    endpoint: str
    line: str


class LoopGuard:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._scopes: WeakKeyDictionary[asyncio.Task[object], Scope] = WeakKeyDictionary()
        self._seen: Counter[Sight] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            with self._watching():
                return await self.app(scope, receive, send)
        task = asyncio.current_task()
        assert task  # noqa: S101 - a coroutine of the server's is always in one
        self._scopes[task] = scope
        try:
            await self.app(scope, receive, send)
        finally:
            self._scopes.pop(task, None)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._ended = threading.Event()
        self._beat(monotonic())
        threading.Thread(target=self._watch, name="loop guard", daemon=True).start()
        try:
            yield
        finally:
            self._next_beat.cancel()
            self._ended.set()

    def _beat(self, due: float) -> None:
        late, seen = monotonic() - due, self._seen
        self._seen = Counter()
        self._due = monotonic() + BEAT_SECONDS
        self._next_beat = self._loop.call_later(BEAT_SECONDS, self._beat, self._due)
        if late > BLOCKED_SECONDS and seen:
            sight = seen.most_common(1)[0][0]
            token = request_id_var.set(sight.request_id)
            logger.warning(BLOCKED, 1000 * late, sight.endpoint, sight.line)
            request_id_var.reset(token)

    def _watch(self) -> None:
        """In a thread of its own."""
        while not self._ended.wait(BEAT_SECONDS):
            if monotonic() > self._due + BEAT_SECONDS and (sight := self._look()):
                self._seen[sight] += 1

    def _look(self) -> Sight | None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)
        if task is None or frame is None:  # it is the machine that has no time for the loop
            return None
        scope = self._scopes.get(task)
        return Sight(scope.get("request_id"), endpoint_of(scope), line_of(frame)) if scope else None


def endpoint_of(scope: Scope) -> str:
    return f"{scope.get('method', 'WebSocket')} {route_of(scope) or quote(scope['path'])}"


def line_of(frame: FrameType) -> str:
    """The innermost that is no library's."""
    stack = [(each.f_code, number) for each, number in walk_stack(frame)]
    own = [each for each in stack if not each[0].co_filename.startswith(LIBRARIES)]
    code, number = (own or stack)[0]
    text = linecache.getline(code.co_filename, number).strip()
    return f"{os.path.relpath(code.co_filename)}:{number} in {code.co_name}: {text}"
