"""An event loop whose servers accept connections quickly, and lose none when they stop.

The kernel completes connections before the server accepts them. libuv accepts one of them in each
turn of the loop: in a busy process, clients that connect, and health checks, would wait for
seconds. When the listening socket is closed, the kernel resets those that wait. Here, they are
accepted first.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

MAX_ACCEPTS = 4  # in a turn of the event loop, beside the one of libuv


class Listener:
    """An event loop's server, which accepts several connections in a turn, and all at its end.

    It has what uvicorn uses of a server.
    """

    def __init__(
        self, protocol_factory: Callable[[], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._protocol_factory = protocol_factory
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._listening: list[socket.socket] = []  # copies, which stay open longer
        self._adoptions = set[asyncio.Task[None]]()

    @property
    def sockets(self) -> Any:
        return self._server.sockets if self._server else ()

    def serve(self, server: asyncio.Server) -> None:
        """Take the server that has been created with `accept`."""
        self._server = server
        self._listening = [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
        for each in self._listening:
            each.setblocking(False)

    def accept(self) -> Any:
        """Return the protocol of the connection that the loop accepts, and accept the next ones."""
        for listening in self._listening:
            for connection in accept_waiting(listening, MAX_ACCEPTS):
                self._adopt(connection)
        return self._protocol_factory()

    def close(self) -> None:
        if self._server:
            self._server.close()
        while self._listening:
            with self._listening.pop() as listening:
                for connection in accept_waiting(listening):
                    self._adopt(connection, is_last=True)

    async def wait_closed(self) -> None:
        if self._server:
            await self._server.wait_closed()

    def _adopt(self, connection: socket.socket, *, is_last: bool = False) -> None:
        task = self._loop.create_task(self._connect(connection, is_last))
        self._adoptions.add(task)
        task.add_done_callback(self._adoptions.discard)

    async def _connect(self, connection: socket.socket, is_last: bool) -> None:
        with suppress(OSError):  # The client has gone meanwhile.
            _, protocol = await self._loop.connect_accepted_socket(
                self._protocol_factory, connection
            )
            if is_last:
                protocol.shutdown()


class Loop(uvloop.Loop):
    """The event loop of a process that serves."""

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        listener = Listener(protocol_factory, self)
        server: Any = await super().create_server(listener.accept, *args, **options)
        listener.serve(server)
        if parent := multiprocessing.parent_process():
            # Without its parent, a worker would hold the port, and nobody would stop it.
            self.add_reader(parent.sentinel, self._stop_after, parent.sentinel)
        return listener

    def _stop_after(self, sentinel: int) -> None:
        self.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)


class Workers(Multiprocess):
    """uvicorn's parent of several workers, which stops listening before the workers do.

    As long as it listened, the kernel would complete connections that no worker accepts any more.
    """

    def run(self) -> None:
        """Serve until a signal, and exit with the status of a worker that could not start."""
        super().run()
        if any(each.exitcode == STARTUP_FAILURE for each in self.processes):
            sys.exit(STARTUP_FAILURE)

    def terminate_all(self) -> None:
        for each in self.sockets:
            each.close()
        super().terminate_all()


def accept_waiting(listening: socket.socket, limit: int | None = None) -> list[socket.socket]:
    """Return the connections that wait to be accepted, up to the limit."""
    accepted = list[socket.socket]()
    with suppress(OSError):  # None waits, or the process has too many open files.
        while limit is None or len(accepted) < limit:
            connection, _ = listening.accept()
            connection.setblocking(False)
            accepted.append(connection)
    return accepted
