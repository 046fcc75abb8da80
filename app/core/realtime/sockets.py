"""Open WebSockets that are told what happens. Each ends with its session, and holds no connection
to the database."""

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
from app.core.realtime.broadcast import LOST, Broadcast
from app.core.resources import resources_of
from app.core.security.principal import Principal

SUBPROTOCOL = "bearer"
RESTART, TRY_AGAIN_LATER, SESSION_ENDED = 1012, 1013, 4401
MAX_PER_USER = 20  # in each process
MAX_WAITING = 2_000  # more than one request can make
CHECK_SECONDS = 60

# Those of these sessions that have not ended.
ActiveSessions = Callable[[Collection[UUID]], Awaitable[set[UUID]]]
logger = logging.getLogger("app.sockets")


def session_topic(session_id: UUID) -> str:
    """Whatever is told there ends the session's sockets."""
    return f"sessions/{session_id}"


class Socket:
    """What waits to be sent, up to MAX_WAITING: who does not read is dropped."""

    def __init__(self, websocket: WebSocket, session_id: UUID) -> None:
        self.session_id = session_id
        self._websocket = websocket
        self._waiting = asyncio.Queue[str](MAX_WAITING)
        self._end = asyncio.get_running_loop().create_future()

    def send(self, message: str) -> None:
        if self._end.done():
            return
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.close(TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    async def run(self) -> int | None:
        """Until either side closes it; the code is ours, or None when the client went away."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._read()), tasks.create_task(self._write())]
            code: int | None = await self._end
            for task in running:
                task.cancel()
        if code is not None:
            self._waiting = asyncio.Queue()  # holds nothing any more
            # A client that reads nothing holds this up, and counts as one of its user's meanwhile.
            with suppress(WebSocketDisconnect):
                await self._websocket.close(code)
        return code

    async def _read(self) -> None:
        """What a client says is for nobody; that it goes away is."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass
        self._gone()

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await self._websocket.send_text(await self._waiting.get())
        self._gone()

    def _gone(self) -> None:
        if not self._end.done():
            self._end.set_result(None)


class Sockets:
    """Those of one process."""

    def __init__(self, broadcast: Broadcast, active_session_ids: ActiveSessions) -> None:
        self._broadcast = broadcast
        self._active_sessions = active_session_ids
        self._by_user: dict[int, set[Socket]] = {}
        self._check: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._check = asyncio.create_task(self._check_sessions())

    async def close(self) -> None:
        """The server has told most of them already."""
        if self._check:
            self._check.cancel()
        self.close_all(RESTART)

    def close_all(self, code: int) -> None:
        for socket in self._all():
            socket.close(code)

    async def serve(self, websocket: WebSocket, principal: Principal, topic: str) -> None:
        """Sends what is told of `topic` from the handshake on."""
        socket = Socket(websocket, principal.session_id)
        ended, lost = lambda _: socket.close(SESSION_ENDED), lambda _: socket.close(RESTART)
        with (
            self._counted(principal.user_id, socket),
            self._broadcast.listening(topic, socket.send),
            self._broadcast.listening(session_topic(principal.session_id), ended),
            self._broadcast.listening(LOST, lost),
        ):
            # It may have ended since the token was read, while nobody listened here.
            if not await self._active_sessions([principal.session_id]):
                raise Unauthenticated("The session has ended. Sign in again.")
            offered = websocket.scope["subprotocols"]
            await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
            opened = time.monotonic()
            code = await socket.run()
            why = "gone" if code is None else f"closed with {code}"
            logger.info("Socket %s after %d s", why, time.monotonic() - opened)

    @contextmanager
    def _counted(self, user_id: int, socket: Socket) -> Iterator[None]:
        sockets = self._by_user.setdefault(user_id, set())
        if len(sockets) >= MAX_PER_USER:
            raise TooManyAtOnce(
                f"{MAX_PER_USER} sockets are open, which is the limit. Close one first."
            )
        sockets.add(socket)
        try:
            yield
        finally:
            sockets.remove(socket)
            if not sockets:
                del self._by_user[user_id]

    def _all(self) -> list[Socket]:
        return [socket for sockets in self._by_user.values() for socket in sockets]

    async def _check_sessions(self) -> None:
        """For those that expire, and for what was not told."""
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
