"""A receiver of webhooks in the event loop of the test, with configurable responses."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from standardwebhooks import Webhook

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """Return the payload. Raise WebhookVerificationError unless its signature is right."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """The requests that were received.

    The next requests get the `responses` in turn, each a status or a function that writes to the
    connection; all further requests get 204.
    """

    def __init__(self) -> None:
        self.responses: list[int | Respond] = []
        self.requests: list[Received] = []
        self.arrived = asyncio.Event()
        self.server_names: list[str | None] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                self.requests.append(await read_request(reader))
                self.arrived.set()
                response = self.responses.pop(0) if self.responses else 204
                if isinstance(response, int):
                    await status(response)(writer)
                else:
                    await response(writer)
            finally:
                writer.close()
                await writer.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *fields = head.strip().split("\r\n")
    headers = {}
    for field in fields:
        name, _, value = field.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(line.split()[1], headers, body)


def status(code: int, **headers: str) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\n"
        writer.write(f"{line}{fields}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return respond


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver, connections = Receiver(), set[asyncio.Task[None]]()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(receiver.serve(reader, writer)))

    if context:

        def note_name(socket: Any, name: str | None, context: Any) -> None:
            receiver.server_names.append(name)

        context.sni_callback = note_name
    server = await asyncio.start_server(connect, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:  # A server that is left open keeps the event loop of the test from closing.
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
