"""The server's protocols with small applications, in the test's event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.core.config import Settings, get_settings
from app.core.http.server import HttpProtocol, WebSocketProtocol, raise_open_file_limit

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ECHO = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


@asynccontextmanager
async def connected(app: Application) -> AsyncIterator[Connection]:
    config = Config(app, http=HttpProtocol, ws=WebSocketProtocol, log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0
    )
    async with asyncio.timeout(60), server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            await asyncio.gather(*state.tasks)


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(autouse=True)
def settings(elsewhere: None) -> Settings:
    """Read them before the event loop runs, as the application does when it is imported."""
    return get_settings()


@pytest.fixture
def short_timeouts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "request_timeout", 0.1)
    monkeypatch.setattr("app.core.http.server.CHECK_SECONDS", 0.05)


HTTP_ATTRIBUTES = """connections cycle flow headers logger loop pipeline scope server_state
    transport"""
REQUEST_ATTRIBUTES = """body disconnected message_event more_body response_complete
    response_started waiting_for_100_continue"""
SOCKET_ATTRIBUTES = """close_sent conn frames handshake_complete handshake_initiated loop
    transport"""


@pytest.mark.parametrize(
    ("class_", "attributes"),
    [
        (HttpToolsProtocol, HTTP_ATTRIBUTES),
        (RequestResponseCycle, REQUEST_ATTRIBUTES),
        (WebSocketsSansIOProtocol, SOCKET_ATTRIBUTES),
    ],
)
def test_uvicorn_has_the_attributes_that_the_protocols_use(class_: Any, attributes: str) -> None:
    """They are not documented. `app/core/http/server.py` has to follow where one is missing."""
    assert set(attributes.split()) <= set(class_.__init__.__code__.co_names)


def test_uvicorn_has_the_methods_that_the_protocols_override() -> None:
    common = {"connection_made", "connection_lost", "data_received"}
    http = {"on_headers_complete", "on_body", "on_message_complete", "send_400_response"}
    assert common | http | {"handle_websocket_upgrade"} <= vars(HttpToolsProtocol).keys()
    assert common | {"handle_parser_exception"} <= vars(WebSocketsSansIOProtocol).keys()


async def test_trailers_are_not_among_the_headers() -> None:
    scopes = list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        while (await receive())["more_body"]:
            pass
        await answer(send, b"done")

    async with connected(app) as (reader, writer):
        writer.write(ECHO + b"X-First: 1\r\n\r\n1\r\nx\r\n0\r\nX-User: root\r\n\r\n")
        await reader.readuntil(b"done")
    assert [name for name, _ in scopes[0]["headers"]] == [b"transfer-encoding", b"x-first"]


@pytest.mark.usefixtures("short_timeouts")
async def test_time_does_not_run_while_the_application_works() -> None:
    """Neither does it for a body that the application has not asked for yet."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.4)
        await answer(send, (await receive())["body"])

    async with connected(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        writer.write(b"hello")
        await reader.readuntil(b"hello")


@pytest.mark.usefixtures("short_timeouts")
async def test_application_learns_that_a_slow_request_was_cut() -> None:
    messages = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while messages[-1:] != ["http.disconnect"]:
            messages.append((await receive())["type"])
        await answer(send, b"too late")

    async with connected(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell")
        response = await reader.read()
    assert messages == ["http.request", "http.disconnect"]
    assert response.startswith(b"HTTP/1.1 408")
    assert b"too late" not in response


def test_client_that_leaves_with_requests_unanswered_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On uvloop, as in production: there it is an error to write to a closed transport."""
    left = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await left.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0.02)  # for the server to notice
        await send({"type": "http.response.body"})

    async def leave() -> None:
        async with connected(app) as (_, writer):
            writer.write(3 * GET)
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.transport.abort()
            await asyncio.sleep(0.02)
            left.set()

    uvloop.run(leave())
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


async def test_invalid_request_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    with caplog.at_level(logging.INFO):
        async with connected(app) as (reader, writer):
            writer.write(b"rubbish\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
    assert [(each.name, each.levelname) for each in caplog.records] == [("app.server", "INFO")]


async def test_invalid_request_behind_another_is_not_answered_in_its_place() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        await answer(send, b"done")

    async with connected(app) as (reader, writer):
        writer.write(GET + b"rubbish\r\n\r\n")
        assert await reader.read() == b""


async def test_pipelined_body_is_held_up_to_a_limit() -> None:
    """Each call of receive() lets the server read on, whoever's body comes next."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        message = None
        while message is None:
            with suppress(TimeoutError):
                message = await asyncio.wait_for(receive(), 0.001)
        assert message["type"] == "http.disconnect"

    async def send_endlessly(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(100_000 * b"x")
            await writer.drain()

    async with connected(app) as (_, writer):
        writer.write(GET + b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_endlessly(writer)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x89\x80\0\0\0\0"])
async def test_frames_before_the_handshake_is_answered_cut_the_connection(
    caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    connecting = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        connecting.set()
        assert (await receive())["type"] == "websocket.disconnect"

    async with connected(app) as (reader, writer):
        writer.write(UPGRADE)
        await connecting.wait()
        writer.write(data)
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert "Traceback" not in caplog.text


def test_limit_on_open_files_is_raised_for_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = list[tuple[int, int]]()
    monkeypatch.setattr("resource.setrlimit", lambda _, each: limits.append(each))
    for soft, hard in ((1024, 1_048_576), (1024, 1200), (1024, -1), (4096, 4096), (-1, -1)):
        monkeypatch.setattr("resource.getrlimit", lambda _, each=(soft, hard): each)
        raise_open_file_limit(1000)
    assert limits == [(1500, 1_048_576), (1200, 1200), (1500, -1)]
