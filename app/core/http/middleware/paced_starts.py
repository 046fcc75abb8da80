"""Requests that arrive at the same time, of which few start in each turn of the event loop."""

import asyncio
from collections import deque
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.context import is_health_check

STARTS_PER_TURN = 4


class PacedStarts:
    """Middleware that starts few requests in each turn of the event loop, in their order.

    Otherwise, a turn would run the first part of every request that has arrived. With a thousand of
    them it would take seconds, in which nothing else is served: no health check, and no request
    whose statement has ended.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._starts = 0  # in this turn
        self._waiting = deque[asyncio.Future[None]]()
        self._loop: asyncio.AbstractEventLoop | None = None  # that will call `_begin_turn`

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or is_health_check(scope):
            return self.app(scope, receive, send)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._starts = 0
            self._schedule_turn(loop)
        if self._starts < STARTS_PER_TURN:
            self._starts += 1
            return self.app(scope, receive, send)
        return self._start_later(loop, scope, receive, send)

    async def _start_later(
        self, loop: asyncio.AbstractEventLoop, scope: Scope, receive: Receive, send: Send
    ) -> None:
        start = loop.create_future()
        self._waiting.append(start)
        await start
        await self.app(scope, receive, send)

    def _schedule_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_soon(self._begin_turn, loop)

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._starts = None, 0
        while self._waiting and self._starts < STARTS_PER_TURN:
            start = self._waiting.popleft()
            if not start.done():  # The client is still there.
                start.set_result(None)
                self._starts += 1
        if self._starts:
            self._schedule_turn(loop)
