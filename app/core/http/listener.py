"""An event loop whose servers lose no connection when they stop.

The kernel completes connections before the server accepts them, and resets those that wait when
the listening socket is closed. Here, they are accepted first.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop
from uvicorn.supervisors import Multiprocess


class Listener:
    """An event loop's server, which accepts all waiting connections when it is closed.

    It has what uvicorn uses of a server.
    """

    def __init__(
        self,
        server: asyncio.Server,
        protocol_factory: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server = server
        self._protocol_factory = protocol_factory
        self._loop = loop
        self._adoptions = set[asyncio.Task[None]]()

    @property
    def sockets(self) -> Any:
        return self._server.sockets

    def close(self) -> None:
        copies = [socket.socket(fileno=os.dup(each.fileno())) for each in self._server.sockets]
        self._server.close()
        for listening in copies:
            # The socket stays open as long as it has a copy.
            for connection in accept_waiting(listening):
                task = self._loop.create_task(self._adopt(connection))
                self._adoptions.add(task)
                task.add_done_callback(self._adoptions.discard)

    async def wait_closed(self) -> None:
        await self._server.wait_closed()

    async def _adopt(self, connection: socket.socket) -> None:
        with suppress(OSError):  # The client has gone meanwhile.
            _, protocol = await self._loop.connect_accepted_socket(
                self._protocol_factory, connection
            )
            protocol.shutdown()


class Loop(uvloop.Loop):
    """The event loop of a process that serves."""

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        server: Any = await super().create_server(protocol_factory, *args, **options)
        if parent := multiprocessing.parent_process():
            # Without its parent, a worker would hold the port, and nobody would stop it.
            self.add_reader(parent.sentinel, self._stop_after, parent.sentinel)
        return Listener(server, protocol_factory, self)

    def _stop_after(self, sentinel: int) -> None:
        self.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)


class Workers(Multiprocess):
    """uvicorn's parent of several workers, which stops listening before the workers do.

    As long as it listened, the kernel would complete connections that no worker accepts any more.
    """

    def terminate_all(self) -> None:
        for each in self.sockets:
            each.close()
        super().terminate_all()


def accept_waiting(listening: socket.socket) -> list[socket.socket]:
    """Close a listening socket, and return the connections that waited to be accepted."""
    listening.setblocking(False)
    accepted = list[socket.socket]()
    with listening, suppress(BlockingIOError):
        while True:
            connection, _ = listening.accept()
            accepted.append(connection)
    for connection in accepted:
        connection.setblocking(False)
    return accepted
