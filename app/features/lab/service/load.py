"""Clients that ask a server as fast as it answers, and one that asks how it feels meanwhile."""

import asyncio
import json
from dataclasses import dataclass, field
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


@dataclass
class Load:
    """Latencies in seconds."""

    port: int
    path: str
    starts: float  # what is answered before is not counted
    ends: float
    heavy: list[float] = field(default_factory=list)
    light: list[float] = field(default_factory=list)
    answered_in_time: int = 0
    errors: int = 0

    async def client(self) -> None:
        """Asks, waits for the answer, and asks again."""
        connection = await Connection.open(self.port)
        try:
            while (asked := perf_counter()) < self.ends:
                status, _ = await connection.ask("GET", self.path)
                if (answered := perf_counter()) >= self.starts:
                    self.heavy.append(answered - asked)
                    self.answered_in_time += answered < self.ends
                    self.errors += status != 200
        finally:
            connection.close()

    async def watch(self) -> None:
        """Asks at fixed times, whether the last was answered or not: one who waits for a slow
        answer before asking again would hardly see how slow it is."""
        idle: list[Connection] = []

        async def look() -> None:
            asked = perf_counter()
            connection = idle.pop() if idle else await Connection.open(self.port)
            await connection.ask("GET", "/lab/light")
            self.light.append(perf_counter() - asked)
            idle.append(connection)

        async with asyncio.TaskGroup() as looks:
            while perf_counter() < self.ends:
                if perf_counter() >= self.starts:
                    looks.create_task(look())
                await asyncio.sleep(LIGHT_INTERVAL_SECONDS)
        for connection in idle:
            connection.close()


async def load(port: int, path: str, clients: int, seconds: float) -> Load:
    """Until all that was asked is answered, which can take longer."""
    starts = perf_counter() + min(1, seconds / 2)  # connections and threads are there by then
    result = Load(port, path, starts, starts + seconds)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(result.client())
        tasks.create_task(result.watch())
    return result
