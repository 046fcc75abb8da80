"""A TCP relay that can drop all traffic, or take a prefix away from the paths of requests."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    def __init__(self, host: str, port: int, prefix: str = "") -> None:
        self._target = host, port
        self._links = list[socket.socket]()
        self._silent = set[socket.socket]()
        pattern = rb"^([A-Z]+ )(%b(?=/))?(?=/)" % prefix.encode()
        self._request = re.compile(pattern, re.MULTILINE) if prefix else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def silence(self) -> None:
        """Drop all traffic of the open links; new links work."""
        self._silent.update(self._links)

    def close(self) -> None:
        for each in (self._listener, *self._links):
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # The listener is closed.
                return
            server = socket.create_connection(self._target)
            self._links += [client, server]
            self._start(self._pump, client, server, self._request)
            self._start(self._pump, server, client)

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        request: re.Pattern[bytes] | None = None,
    ) -> None:
        try:
            while data := source.recv(65_536):
                if request:  # A path without the prefix is not the application's.
                    data = request.sub(lambda m: m[1] if m[2] else m[1] + b"/elsewhere", data)
                if source not in self._silent:
                    target.sendall(data)
            if source not in self._silent:
                target.shutdown(socket.SHUT_WR)
        except OSError:  # The other side has closed the connection.
            pass

    def _start(self, target: object, *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)  # This wakes the thread that reads from the socket.
    each.close()


@contextmanager
def relaying(host: str, port: int, prefix: str = "") -> Iterator[Relay]:
    relay = Relay(host, port, prefix)
    try:
        yield relay
    finally:
        relay.close()
