"""Run the server's protocols with a small application in the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.core.http.server import HttpProtocol, WebSocketProtocol
from tests.isolation import DEADLINE_SECONDS

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CONTINUATION, TEXT, PING, CLOSE = 0, 1, 9, 0x88


def frame(opcode: int, payload: bytes, *, is_last: bool = True) -> bytes:
    """Return a client's frame; its mask is zero."""
    return bytes([(0x80 if is_last else 0) | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


@asynccontextmanager
async def listening(
    app: Application, state: ServerState | None = None
) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """Yield a function that connects, and close all connections at the end."""
    state = state or ServerState()
    config = Config(app, http=HttpProtocol, ws=WebSocketProtocol, log_config=None, lifespan="off")
    config.load()
    opened = AsyncExitStack()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0
    )

    async def connect() -> Connection:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        opened.callback(writer.close)
        return reader, writer

    async with asyncio.timeout(DEADLINE_SECONDS), server:
        async with opened:
            yield connect
        await asyncio.gather(*state.tasks)


@asynccontextmanager
async def connected(app: Application) -> AsyncIterator[Connection]:
    async with listening(app) as connect:
        yield await connect()


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
