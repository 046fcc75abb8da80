"""Cancellation of requests whose client has disconnected, so that they release what they hold.

Otherwise they would keep their database connection and locks until they finish.
"""

import asyncio

from starlette.types import Message, Receive

from app.core.context import watch_var

SWEEP_SECONDS = 1


class DisconnectWatch:
    """Cancels the current task within two sweeps after the request's client disconnects.

    It no longer does so once the response starts, or `disable_cancellation` was called. Since it
    notices the disconnection by receiving, it keeps the body that it receives for the application.
    """

    __slots__ = (
        "_is_receiving",
        "_last_body_message",
        "_receive",
        "_receive_task",
        "_task",
        "_was_swept",
        "has_cancelled",
        "may_cancel",
    )

    def __init__(self, receive: Receive) -> None:
        self.has_cancelled = False
        self.may_cancel = True
        self._receive = receive
        self._was_swept = False
        self._is_receiving = False
        self._task = asyncio.current_task()
        self._receive_task: asyncio.Task[Message] | None = None
        self._last_body_message: Message | None = None
        watch_var.set(self)

    async def receive(self) -> Message:
        if self._last_body_message:
            message, self._last_body_message = self._last_body_message, None
        elif receive_task := self._receive_task:
            await asyncio.wait([receive_task])
            message, self._last_body_message = receive_task.result(), None
            if self._receive_task is receive_task and message.get("more_body"):
                self._receive_task = None
        else:
            self._is_receiving = True
            try:
                message = await self._receive()
            finally:
                self._is_receiving = False
        return message

    def stop(self) -> None:
        self._task = None  # Breaks the reference cycle of task, context and watch.
        if self._receive_task:
            self._receive_task.cancel()

    def sweep(self) -> None:
        """Start receiving at the second sweep, since most requests end before that."""
        is_received = self._is_receiving or self._receive_task
        if self._was_swept and self.may_cancel and not is_received:
            self._start_receiving()
        self._was_swept = True

    def _start_receiving(self) -> None:
        self._receive_task = asyncio.ensure_future(self._receive())
        self._receive_task.add_done_callback(self._on_message)

    def _on_message(self, receive_task: asyncio.Task[Message]) -> None:
        if receive_task.cancelled() or receive_task.exception() or self._task is None:
            return  # The application gets the error when it receives, or the request has ended.
        message = receive_task.result()
        if message["type"] == "http.request":
            if not message.get("more_body"):
                self._last_body_message = message
                self._start_receiving()
        elif self.may_cancel:
            self.has_cancelled = True
            self._task.cancel()


class DisconnectWatches:
    """The watches of all running requests, swept by one timer, which costs less than one each."""

    def __init__(self) -> None:
        self._watches = set[DisconnectWatch]()
        self._sweeping_on: asyncio.AbstractEventLoop | None = None

    def start(self, receive: Receive) -> DisconnectWatch:
        watch, loop = DisconnectWatch(receive), asyncio.get_running_loop()
        self._watches.add(watch)
        if self._sweeping_on is not loop:
            self._sweeping_on = loop
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        return watch

    def stop(self, watch: DisconnectWatch) -> None:
        self._watches.discard(watch)
        watch.stop()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for watch in self._watches:
            watch.sweep()
        if self._watches:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        else:
            self._sweeping_on = None
