"""Clients that send requests as fast as a server responds, and one that probes it meanwhile."""

import asyncio
import json
from contextlib import ExitStack, closing, suppress
from math import inf
from time import perf_counter
from typing import Any

PROBE_INTERVAL_SECONDS = 0.025


class Connection:
    """A minimal HTTP/1.1 client. A general one would be slower than the server it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def request(self, method: str, path: str) -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        self._writer.write(head.encode())
        response_head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, fields = response_head.partition(b"content-length:")
        length = int(fields.partition(b"\r\n")[0])
        return int(response_head.split(maxsplit=2)[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def request_json(port: int, method: str, path: str) -> Any:
    connection = await Connection.open(port)
    try:
        status, body = await connection.request(method, path)
    finally:
        connection.close()
    if status != 200:
        raise RuntimeError(f"{method} {path}: {status} {body.decode()}")
    return json.loads(body)


class Load:
    """The latencies in seconds of all requests that were answered after the warm-up."""

    def __init__(self, port: int, path: str, clients: int) -> None:
        self.latencies: list[float] = []
        self.light_latencies: list[float] = []
        self.errors = 0
        self.start = self.end = inf
        self.last_response = 0.0
        self.is_warm = asyncio.Event()
        self._port = port
        self._path = path
        self._cold_clients = clients  # without a response yet

    @property
    def requests_per_second(self) -> float:
        """Return the rate up to the last response, which can be later than the end of the run.

        The trap responds to no client for a while, and then to a hundred at once.
        """
        if not self.latencies:
            return 0
        return len(self.latencies) / (self.last_response - self.start)

    async def run_client(self) -> None:
        """Send one request after the other, each when the previous one is answered."""
        connection = await Connection.open(self._port)
        try:
            await self._measure(connection)
            self._cold_clients -= 1
            if not self._cold_clients:
                self.is_warm.set()
            while perf_counter() < self.end:
                await self._measure(connection)
        finally:
            connection.close()

    async def _measure(self, connection: Connection) -> None:
        sent_at = perf_counter()
        status, _ = await connection.request("GET", self._path)
        answered_at = perf_counter()
        if answered_at >= self.start:
            self.latencies.append(answered_at - sent_at)
            self.last_response = answered_at
            self.errors += status != 200

    async def probe(self) -> None:
        """Request the light endpoint at a fixed rate, whether or not the last request is answered.

        A client that waited for a slow response would send few requests while the server is slow.
        """
        idle: list[Connection] = []

        async def measure_light() -> None:
            sent_at = perf_counter()
            connection = idle.pop() if idle else await open_connection()
            await connection.request("GET", "/lab/light")
            self.light_latencies.append(perf_counter() - sent_at)
            idle.append(connection)

        async def open_connection() -> Connection:
            return connections.enter_context(closing(await Connection.open(self._port)))

        with ExitStack() as connections:
            async with asyncio.TaskGroup() as tasks:
                while perf_counter() < self.end:
                    tasks.create_task(measure_light())
                    await asyncio.sleep(PROBE_INTERVAL_SECONDS)


async def run_load(port: int, path: str, clients: int, seconds: float) -> Load:
    """Measure an endpoint for some seconds, and until the last request is answered."""
    result = Load(port, path, clients)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(result.run_client())
        # The measurement starts when the connections and threads exist, which take time to create.
        with suppress(TimeoutError):
            await asyncio.wait_for(result.is_warm.wait(), seconds)
        result.start = perf_counter()
        result.end = result.start + seconds
        tasks.create_task(result.probe())
    return result
