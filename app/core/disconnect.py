"""Requests whose client has gone are cancelled, so that they hold no connection and no lock."""

import asyncio
from contextvars import ContextVar

from starlette.types import Message, Receive

GRACE_SECONDS = 1  # Most requests end sooner, and cost a timer and no task.


class DisconnectWatch:
    """Cancels the current task when the request's client disconnects.

    It stops doing so when the response starts, or when `finish_request` was called. What it
    receives of the body meanwhile is kept for the application.
    """

    def __init__(self, receive: Receive) -> None:
        self.has_cancelled = False
        self.may_cancel = True
        self._receive = receive
        self._is_receiving = False
        self._request = asyncio.current_task()
        self._listening: asyncio.Task[Message] | None = None
        self._last_piece: Message | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(GRACE_SECONDS, self._start)
        _watch.set(self)

    async def receive(self) -> Message:
        if self._last_piece:
            message, self._last_piece = self._last_piece, None
        elif self._listening:
            await asyncio.wait([self._listening])
            message, self._last_piece = self._listening.result(), None
            if message.get("more_body"):
                self._listening = None
        else:
            self._is_receiving = True
            message = await self._receive()
            self._is_receiving = False
        return message

    def stop(self) -> None:
        self._timer.cancel()
        if self._listening:
            self._listening.cancel()

    def _start(self) -> None:
        if self._is_receiving:  # The application is told of a disconnect itself.
            self._timer = self._loop.call_later(GRACE_SECONDS, self._start)
        elif self.may_cancel:
            self._listen()

    def _listen(self) -> None:
        self._listening = self._loop.create_task(self._receive())  # type: ignore[arg-type]  # a coroutine
        self._listening.add_done_callback(self._heard)

    def _heard(self, listening: asyncio.Task[Message]) -> None:
        if listening.cancelled():
            return
        message = listening.result()
        if message["type"] == "http.request":
            if not message.get("more_body"):
                self._last_piece = message
                self._listen()
        elif self.may_cancel and self._request:
            self.has_cancelled = True
            self._request.cancel()


_watch: ContextVar[DisconnectWatch | None] = ContextVar("disconnect_watch", default=None)


def finish_request() -> None:
    """Let the current request run to its end from here on, whether its client waits or not.

    A commit must not be cut short: what follows it (jobs, events) would be lost.
    """
    if watch := _watch.get():
        watch.may_cancel = False
