"""Clients that ask a server as fast as it answers, and one that asks how it feels meanwhile."""

import asyncio
import json
from contextlib import ExitStack, closing, suppress
from math import inf
from time import perf_counter
from typing import Any

LIGHT_INTERVAL_SECONDS = 0.025


class Connection:
    """As much HTTP/1.1 as it takes: a general client would be slower than what it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str) -> tuple[int, bytes]:
        request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        self._writer.write(request.encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"content-length:")
        length = int(after.partition(b"\r\n")[0])
        return int(head.split(maxsplit=2)[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def ask(port: int, method: str, path: str) -> Any:
    connection = await Connection.open(port)
    try:
        status, body = await connection.ask(method, path)
    finally:
        connection.close()
    if status != 200:
        raise RuntimeError(f"{method} {path}: {status} {body.decode()}")
    return json.loads(body)


class Load:
    """Latencies in seconds, of what was answered once the clock ran."""

    def __init__(self, port: int, path: str, clients: int) -> None:
        self.heavy: list[float] = []
        self.light: list[float] = []
        self.errors = 0
        self.starts = self.ends = inf
        self.last = 0.0  # when the last of them was answered
        self.is_warm = asyncio.Event()
        self._port = port
        self._path = path
        self._cold = clients  # that have had no answer yet

    @property
    def requests_per_second(self) -> float:
        """To the last answer, and not to the end of the time that was given: the trap answers
        nobody for a while, and then a hundred at once."""
        return len(self.heavy) / (self.last - self.starts) if self.heavy else 0

    async def client(self) -> None:
        """Asks, waits for the answer, and asks again."""
        connection = await Connection.open(self._port)
        try:
            await self._ask(connection)
            self._cold -= 1
            if not self._cold:
                self.is_warm.set()
            while perf_counter() < self.ends:
                await self._ask(connection)
        finally:
            connection.close()

    async def _ask(self, connection: Connection) -> None:
        asked = perf_counter()
        status, _ = await connection.ask("GET", self._path)
        answered = perf_counter()
        if answered >= self.starts:
            self.heavy.append(answered - asked)
            self.last = answered
            self.errors += status != 200

    async def watch(self) -> None:
        """Asks at fixed times, whether the last was answered or not: one who waits for a slow
        answer before asking again would hardly see how slow it is."""
        idle: list[Connection] = []

        async def look() -> None:
            asked = perf_counter()
            connection = idle.pop() if idle else await open_another()
            await connection.ask("GET", "/lab/light")
            self.light.append(perf_counter() - asked)
            idle.append(connection)

        async def open_another() -> Connection:
            return opened.enter_context(closing(await Connection.open(self._port)))

        with ExitStack() as opened:
            async with asyncio.TaskGroup() as looks:
                while perf_counter() < self.ends:
                    looks.create_task(look())
                    await asyncio.sleep(LIGHT_INTERVAL_SECONDS)


async def load(port: int, path: str, clients: int, seconds: float) -> Load:
    """Until all that was asked is answered, which can take longer."""
    result = Load(port, path, clients)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(result.client())
        # The clock runs when connections and threads are there: they take a while to make.
        with suppress(TimeoutError):
            await asyncio.wait_for(result.is_warm.wait(), seconds)
        result.starts = perf_counter()
        result.ends = result.starts + seconds
        tasks.create_task(result.watch())
    return result
