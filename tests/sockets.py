"""A WebSocket client in the event loop of the test, without a server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Message, Scope

from tests.isolation import DEADLINE_SECONDS

LIVE = "/api/v1/items/live"


class Socket:
    """The client's end of a WebSocket that an ASGI application serves."""

    def __init__(self) -> None:
        self.from_application = asyncio.Queue[Message]()
        self.from_client = asyncio.Queue[Message]()
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.from_client.put_nowait({"type": "websocket.connect"})

    async def send(self, message: Message) -> None:
        await self.is_reading.wait()  # Uvicorn waits here while the network accepts no data.
        await self.from_application.put(message)
        if message["type"] == "websocket.close":
            await self.from_client.put({"type": "websocket.disconnect", "code": message["code"]})

    async def next(self) -> Message:
        return await asyncio.wait_for(self.from_application.get(), DEADLINE_SECONDS)

    async def receive(self) -> dict[str, Any]:
        message = await self.next()
        assert message["type"] == "websocket.send", message
        received: dict[str, Any] = json.loads(message["text"])
        return received

    async def closed(self) -> int:
        """Wait for the server to close the socket, and return the code."""
        message = await self.next()
        assert message["type"] == "websocket.close", message
        code: int = message["code"]
        return code


def scope_of(path: str, headers: dict[str, str], subprotocols: list[str]) -> Scope:
    return {
        "type": "websocket",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "root_path": "",
        "scheme": "ws",
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in ({"Host": "localhost"} | headers).items()
        ],
        "subprotocols": subprotocols,
        "client": ("127.0.0.1", 123),
        "server": ("localhost", 80),
        "extensions": {"websocket.http.response": {}},
    }


@asynccontextmanager
async def connecting(
    app: FastAPI,
    token: str | None = None,
    *,
    path: str = LIVE,
    headers: dict[str, str] | None = None,
    subprotocols: tuple[str, ...] = (),
) -> AsyncIterator[Socket]:
    """Start a handshake, and disconnect at the end.

    The first message from the application is its response.
    """
    socket = Socket()
    headers = ({"Authorization": f"Bearer {token}"} if token else {}) | (headers or {})
    scope = scope_of(path, headers, list(subprotocols))
    task = asyncio.create_task(app(scope, socket.from_client.get, socket.send))
    try:
        yield socket
    finally:
        socket.is_reading.set()
        await socket.from_client.put({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(task, DEADLINE_SECONDS)


@asynccontextmanager
async def connected(app: FastAPI, token: str, path: str = LIVE) -> AsyncIterator[Socket]:
    async with connecting(app, token, path=path) as socket:
        response = await socket.next()
        assert response["type"] == "websocket.accept", response
        yield socket


async def refused(app: FastAPI, token: str | None = None, **options: Any) -> dict[str, Any]:
    """Expect the handshake to be refused, and return the problem."""
    async with connecting(app, token, **options) as socket:
        start, body = await socket.next(), await socket.next()
    assert start["type"] == "websocket.http.response.start", start
    assert (b"content-type", b"application/problem+json") in start["headers"]
    problem: dict[str, Any] = json.loads(body["body"])
    assert problem["status"] == start["status"]
    return problem
