"""WebSockets that send a user the events of a topic.

Each is closed when its session ends. None holds a database connection while it is open.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.core.errors import TooManyAtOnce, Unauthenticated, Unavailable
from app.core.realtime.broadcast import EVENTS_LOST, Broadcast
from app.core.resources import resources_of
from app.core.security.principal import Principal

SUBPROTOCOL = "bearer"
SERVICE_RESTART, TRY_AGAIN_LATER, SESSION_ENDED = 1012, 1013, 4401
MAX_PER_USER = 20  # in each process
MAX_QUEUED_MESSAGES = 2_000  # more than one request can make
CHECK_SECONDS = 60

# Returns which of the sessions have not ended.
ActiveSessions = Callable[[Collection[UUID]], Awaitable[set[UUID]]]
logger = logging.getLogger("app.sockets")


def session_topic(session_id: UUID) -> str:
    """Return the topic whose messages close the session's sockets."""
    return f"sessions/{session_id}"


class Socket:
    """A WebSocket and its queue of unsent messages.

    When the queue is full, the client does not read, and the socket is closed.
    """

    def __init__(self, websocket: WebSocket, session_id: UUID) -> None:
        self.session_id = session_id
        self._websocket = websocket
        self._queue = asyncio.Queue[str](MAX_QUEUED_MESSAGES)
        self._close_code = asyncio.get_running_loop().create_future()

    def send(self, message: str) -> None:
        if self._close_code.done():
            return
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.close(TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        if not self._close_code.done():
            self._close_code.set_result(code)

    async def run(self) -> int | None:
        """Send and receive until either side closes the socket.

        Return the code that the server closed it with, or None if the client disconnected.
        """
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._read()), tasks.create_task(self._write())]
            code: int | None = await self._close_code
            for task in running:
                task.cancel()
        if code is not None:
            self._queue = asyncio.Queue()  # frees the memory of unsent messages
            # If the client does not read, this waits, and the socket still counts for its user.
            with suppress(WebSocketDisconnect):
                await self._websocket.close(code)
        return code

    async def _read(self) -> None:
        """Discard what the client sends, and notice when it disconnects."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass
        self._on_disconnect()

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await self._websocket.send_text(await self._queue.get())
        self._on_disconnect()

    def _on_disconnect(self) -> None:
        if not self._close_code.done():
            self._close_code.set_result(None)


class Sockets:
    """The open sockets of this process."""

    def __init__(self, broadcast: Broadcast, active_session_ids: ActiveSessions) -> None:
        self._broadcast = broadcast
        self._active_sessions = active_session_ids
        self._by_user: dict[int, set[Socket]] = {}
        self.count = 0
        self._check_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._check_task = asyncio.create_task(self._check_sessions())

    async def close(self) -> None:
        """Close the sockets that the server has not closed itself as it stops."""
        if self._check_task:
            self._check_task.cancel()
        self.close_all(SERVICE_RESTART)

    def close_all(self, code: int) -> None:
        for socket in self._all():
            socket.close(code)

    async def serve(self, websocket: WebSocket, principal: Principal, topic: str) -> None:
        """Accept the WebSocket, and send it the events of the topic until it is closed."""
        socket = Socket(websocket, principal.session_id)
        with (
            self._registered(principal.user_id, socket),
            self._broadcast.subscribed(topic, socket.send),
            self._broadcast.subscribed(
                session_topic(principal.session_id), lambda _: socket.close(SESSION_ENDED)
            ),
            self._broadcast.subscribed(EVENTS_LOST, lambda _: socket.close(SERVICE_RESTART)),
        ):
            # The session may have ended after its token was read and before the subscription.
            if not await self._active_sessions([principal.session_id]):
                raise Unauthenticated("The session has ended. Sign in again.")
            offered = websocket.scope["subprotocols"]
            await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
            opened = time.monotonic()
            code = await socket.run()
            outcome = "gone" if code is None else f"closed with {code}"
            logger.info("Socket %s after %d s", outcome, time.monotonic() - opened)

    @contextmanager
    def _registered(self, user_id: int, socket: Socket) -> Iterator[None]:
        sockets = self._by_user.setdefault(user_id, set())
        if len(sockets) >= MAX_PER_USER:
            raise TooManyAtOnce(
                "{limit} sockets are open, which is the limit. Close one first.", limit=MAX_PER_USER
            )
        sockets.add(socket)
        self.count += 1
        try:
            yield
        finally:
            sockets.remove(socket)
            self.count -= 1
            if not sockets:
                del self._by_user[user_id]

    def _all(self) -> list[Socket]:
        return [socket for sockets in self._by_user.values() for socket in sockets]

    async def _check_sessions(self) -> None:
        """Close the sockets of sessions that expired, or whose end was not published."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            sockets = self._all()
            if not sockets:
                continue
            try:
                active_session_ids = await self._active_sessions(
                    {socket.session_id for socket in sockets}
                )
            except Unavailable as error:
                logger.warning("The sockets' sessions were not checked: %s", error)
                continue
            for socket in sockets:
                if socket.session_id not in active_session_ids:
                    socket.close(SESSION_ENDED)


async def get_sockets(connection: HTTPConnection) -> Sockets:
    return resources_of(connection).sockets


SocketsDep = Annotated[Sockets, Depends(get_sockets)]
