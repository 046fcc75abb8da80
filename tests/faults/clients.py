"""Helpers for hostile clients: raw sockets, and the memory of the server."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.isolation import DEADLINE_SECONDS

MEGABYTE = 1_000_000
MAX_GROWTH_BYTES = 40 * MEGABYTE  # Without limits, the attacks would use several times as much.


@contextmanager
def connected(client: httpx.Client, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect((client.base_url.host, client.base_url.port))
        yield connection


def health(client: httpx.Client) -> httpx.Response:
    """Request the health on a new connection."""
    return httpx.get(f"{client.base_url}/health/live", timeout=DEADLINE_SECONDS, verify=False)


def send_until_cut(connection: socket.socket, piece: bytes, total: int) -> bool:
    """Send `piece` repeatedly, up to `total` bytes.

    Return whether the server closed the connection before.
    """
    sent = 0
    with suppress(ConnectionError):
        while sent < total:
            connection.sendall(piece)
            sent += len(piece)
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def trickle(connection: socket.socket, piece: bytes, seconds: float) -> bytes:
    """Send `piece` at an interval until the server closes the connection. Return its response."""
    connection.settimeout(seconds)
    received, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    with suppress(ConnectionError):
        while time.monotonic() < deadline:
            connection.sendall(piece)
            try:
                read = connection.recv(65_536)
            except TimeoutError:
                continue
            received += read
            if not read:
                return received
    return received


def is_cut(connection: socket.socket) -> bool:
    """Wait for the server to reset the connection, without reading from it."""
    poll = select.poll()
    poll.register(connection, 0)  # Errors are always reported.
    return bool(poll.poll(1000 * DEADLINE_SECONDS))


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def peak_memory(pid: int) -> int:
    """Return the peak memory of the process since `reset_peak_memory`, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise LookupError("VmHWM")


def reset_peak_memory(pid: int) -> int:
    """Reset the peak memory of the process, and return its current memory in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory(pid)
