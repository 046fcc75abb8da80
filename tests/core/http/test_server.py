"""The server's protocols, tested with small applications in the test's event loop."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.core.config import Settings, get_settings
from app.core.http.server import (
    LAST_REQUEST_SECONDS,
    LINGER_SECONDS,
    OVERFLOW,
    raise_open_file_limit,
)
from tests.protocols import (
    CONTINUATION,
    PING,
    TEXT,
    Connection,
    answer,
    connected,
    frame,
    listening,
)
from tests.waiting import Clock, run_pending_tasks

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
SIZED = b"POST / HTTP/1.1\r\nContent-Length: 50000\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


REQUEST_SECONDS = 10  # The tests advance the clock.


@pytest.fixture(autouse=True)
def settings(empty_working_directory: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read the settings before the event loop runs, as the import of the application does."""
    monkeypatch.setattr(get_settings(), "request_timeout", REQUEST_SECONDS)
    return get_settings()


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
    """These attributes are undocumented: if one is missing, adapt `app/core/http/server.py`."""
    assert set(attributes.split()) <= set(class_.__init__.__code__.co_names)


def test_uvicorn_has_the_methods_that_the_protocols_override() -> None:
    common = {"connection_made", "connection_lost", "data_received"}
    http = {"on_headers_complete", "on_body", "on_message_complete", "send_400_response"}
    assert common | http | {"handle_websocket_upgrade"} <= vars(HttpToolsProtocol).keys()
    sockets = {"handle_parser_exception", "send"}
    assert common | sockets <= vars(WebSocketsSansIOProtocol).keys()


async def test_trailers_are_not_added_to_the_headers() -> None:
    scopes = list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        while (await receive())["more_body"]:
            pass
        await answer(send, b"done")

    async with connected(app) as (reader, writer):
        writer.write(CHUNKED + b"X-First: 1\r\n\r\n1\r\nx\r\n0\r\nX-User: root\r\n\r\n")
        await reader.readuntil(b"done")
    assert [name for name, _ in scopes[0]["headers"]] == [b"transfer-encoding", b"x-first"]


async def read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond after the whole body."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.request":
        await answer(send, b"done")


async def trickle(connection: Connection, piece: bytes, clock: Clock) -> bytes:
    """Send `piece` every second until the server closes the connection. Return its response."""
    reader, writer = connection
    response = asyncio.create_task(reader.read())
    await run_pending_tasks()
    while not response.done():
        writer.write(piece)
        await clock.advance(1)
    return await response


async def test_connection_without_a_request_is_closed(clock: Clock) -> None:
    async with connected(read_and_answer) as connection:
        assert await trickle(connection, b"", clock) == b""


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"G", b"", id="stalled head"),
        pytest.param(b"GET /", b"x", id="target"),
        pytest.param(GET.removesuffix(b"\r\n"), b"a: b\r\n", id="field"),
        pytest.param(SIZED + b"\r\n", b"", id="stalled body"),
        pytest.param(SIZED + b"\r\n", b"x", id="body"),
        pytest.param(CHUNKED + b"\r\n", b"1\r\nx\r\n", id="chunked body"),
        pytest.param(CHUNKED + b"\r\n1;", b"x", id="chunk extension"),
        pytest.param(CHUNKED + b"\r\n0\r\n", b"a: b\r\n", id="trailer"),
        pytest.param(SIZED + b"Expect: 100-continue\r\n\r\n", b"", id="announced body"),
    ],
)
async def test_slow_request_returns_408(clock: Clock, start: bytes, piece: bytes) -> None:
    async with connected(read_and_answer) as connection:
        connection[1].write(start)
        response = await trickle(connection, piece, clock)
    head, _, body = response.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    problem = json.loads(body)
    assert problem["type"] == "/problems/request-timeout"
    assert f"{get_settings().request_timeout:g} seconds" in problem["detail"]


async def test_second_request_has_its_own_timeout(clock: Clock) -> None:
    async with connected(read_and_answer) as connection:
        connection[1].write(GET + b"GET /slow")
        response = await trickle(connection, b"x", clock)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in response


async def test_body_at_a_reasonable_pace_is_accepted(clock: Clock) -> None:
    """The body takes three times REQUEST_TIMEOUT, with at least 10 kB in each of them."""
    async with connected(read_and_answer) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 40000\r\n\r\n")
        for _ in range(8):
            await clock.advance(0.4 * REQUEST_SECONDS)
            writer.write(5000 * b"x")
        await reader.readuntil(b"done")


async def test_timeout_pauses_while_the_application_works(clock: Clock) -> None:
    """It also pauses for a body that the application has not requested."""
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await answer(send, (await receive())["body"])

    async with connected(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        await run_pending_tasks()
        for _ in range(3):
            await clock.advance(REQUEST_SECONDS)
        release.set()
        await reader.readuntil(CONTINUE)
        writer.write(b"hello")
        await reader.readuntil(b"hello")


async def test_application_is_notified_when_a_slow_request_is_cut(clock: Clock) -> None:
    messages = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while messages[-1:] != ["http.disconnect"]:
            messages.append((await receive())["type"])
        await answer(send, b"too late")

    async with connected(app) as connection:
        connection[1].write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell")
        response = await trickle(connection, b"", clock)
    assert messages == ["http.request", "http.disconnect"]
    assert response.startswith(b"HTTP/1.1 408")
    assert b"too late" not in response


def test_disconnect_with_unanswered_requests_logs_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It runs on uvloop, as in production, where writing to a closed transport is an error."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await left.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await run_pending_tasks()  # Let the server notice the disconnect.
        await send({"type": "http.response.body"})

    async def leave() -> None:
        async with connected(app) as (_, writer):
            writer.write(3 * GET)
            await asked.wait()
            await run_pending_tasks()
            writer.transport.abort()
            await run_pending_tasks()
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


async def test_invalid_request_behind_another_gets_no_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run_pending_tasks()  # Let the server read the second request.
        await answer(send, b"done")

    async with connected(app) as (reader, writer):
        writer.write(GET + b"rubbish\r\n\r\n")
        assert await reader.read() == b""


async def test_pipelined_body_is_held_up_to_a_limit() -> None:
    """Each call of receive() lets the server continue to read, also later requests' bodies."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        message = None
        while message is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    message = await receive()
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
async def test_frames_before_the_end_of_the_handshake_cut_the_connection(
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


def test_open_file_limit_is_raised_for_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = list[tuple[int, int]]()
    monkeypatch.setattr("resource.setrlimit", lambda _, each: limits.append(each))
    for soft, hard in ((1024, 1_048_576), (1024, 1200), (1024, -1), (4096, 4096), (-1, -1)):
        monkeypatch.setattr("resource.getrlimit", lambda _, each=(soft, hard): each)
        raise_open_file_limit(1000)
    assert limits == [(1500, 1_048_576), (1200, 1200), (1500, -1)]


HEALTH = GET.removesuffix(b"\r\n")
TRAILERS = CHUNKED + b"\r\n0\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(HEALTH + 99 * b"a: b\r\n" + b"\r\n", 200, id="100 fields"),
        pytest.param(HEALTH + 100 * b"a: b\r\n" + b"\r\n", 431, id="101 fields"),
        pytest.param(HEALTH + b"a: " + 65_000 * b"x" + b"\r\n\r\n", 200, id="65 kB"),
        pytest.param(HEALTH + b"a: " + 66_000 * b"x" + b"\r\n\r\n", 431, id="66 kB"),
        pytest.param(HEALTH + b"a: " + 200_000 * b"x" + b"\r\n\r\n", 431, id="200 kB"),
        pytest.param(b"GET /?" + 66_000 * b"x" + b" HTTP/1.1\r\n\r\n", 431, id="target"),
        pytest.param(TRAILERS + 101 * b"a: b\r\n" + b"\r\n", 431, id="101 trailers"),
        pytest.param(TRAILERS + b"a: " + 70_000 * b"x" + b"\r\n\r\n", 431, id="70 kB trailer"),
        pytest.param(HEALTH + b"a: b\r\n folded\r\n\r\n", 400, id="folded line"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
    ],
)
async def test_head_beyond_the_limits_returns_431(head: bytes, status: int) -> None:
    async with connected(read_and_answer) as (reader, writer):
        writer.write(head)
        if status == 200:
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
            return
        fields, _, body = (await reader.read()).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["status"] == status == int(fields.split()[1])
    if status == 431:
        assert problem["type"] == "/problems/request-head-too-large"
        assert "65,536 bytes and 100 header fields" in problem["detail"]
    assert problem["instance"] in ("/", "*")
    assert f"x-request-id: {problem['request_id']}".encode() in fields
    assert b"content-type: application/problem+json" in fields
    assert b"connection: close" in fields


async def test_pipelined_requests_are_answered_in_order() -> None:
    paths = list[bytes]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["raw_path"])

    async with connected(app) as (reader, writer):
        for n in range(20):
            writer.write(b"GET /%d HTTP/1.1\r\n\r\n" % n)
        writer.write(b"GET /20 HTTP/1.1\r\nConnection: close\r\n\r\n")
        paths = re.findall(rb"/\d+\b(?=\r)", await reader.read())
    assert paths == [b"/%d" % n for n in range(21)]


async def test_large_head_behind_another_request_is_refused() -> None:
    async with connected(read_and_answer) as (reader, writer):
        writer.write(GET + HEALTH + b"X-Long: " + 100_000 * b"x" + b"\r\n\r\n")
        response = await reader.read()
    assert response.count(b"HTTP/1.1 200") <= 1


async def test_idle_connection_is_closed_for_a_new_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(settings, "max_connections", 20)
    async with listening(read_and_answer) as connect:
        idle = [await connect() for _ in range(200)]
        reader, writer = await connect()
        writer.write(GET)
        await reader.readuntil(b"done")
        for connection in idle:
            with suppress(ConnectionResetError):
                assert await trickle(connection, b"", clock) == b""


@asynccontextmanager
async def with_all_connections_in_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """Yield a function that connects beyond MAX_CONNECTIONS."""
    monkeypatch.setattr(settings, "max_connections", 2)
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await release.wait()
        await answer(send, b"done")

    async with listening(app) as connect:
        in_use = [await connect() for _ in range(2)]
        for _, writer in in_use:
            writer.write(GET)
        await run_pending_tasks()
        yield connect
        release.set()
        for reader, _ in in_use:
            await reader.readuntil(b"done")


async def test_new_connection_returns_503_while_all_are_in_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_all_connections_in_use(settings, monkeypatch) as connect:
        reader, writer = await connect()
        writer.write(GET)
        response = await reader.read()
    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in response


async def test_health_is_answered_while_all_connections_are_in_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_all_connections_in_use(settings, monkeypatch) as connect:
        for _ in range(OVERFLOW + 1):
            reader, writer = await connect()
            writer.write(LIVE)
            response = await reader.read()
            assert response.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in response.lower()


async def test_silent_connections_are_closed_while_all_are_in_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    async with with_all_connections_in_use(settings, monkeypatch) as connect:
        silent = [await connect() for _ in range(OVERFLOW)]
        refused = await (await connect())[0].read()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert {await trickle(connection, b"", clock) for connection in silent} == {b""}
        reader, writer = await connect()
        writer.write(LIVE)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_health_checks_close_no_idle_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "max_connections", 1)
    async with listening(read_and_answer) as connect:
        idle_reader, idle_writer = await connect()
        for _ in range(2):
            reader, writer = await connect()
            writer.write(LIVE)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        idle_writer.write(GET)
        await idle_reader.readuntil(b"done")


async def accept(scope: Scope, receive: Receive, send: Send) -> None:
    """Read what the client sends until it disconnects."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def test_small_number_of_frames_is_accepted() -> None:
    async with connected(accept) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(100 * frame(PING, b"x") + 100 * frame(TEXT, b"x"))
        assert await reader.readexactly(300) == 100 * b"\x8a\x01x"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(1000 * frame(PING, 125 * b"x"), 1008, id="too much data"),
        pytest.param(
            frame(TEXT, b"x", is_last=False) + 100 * frame(CONTINUATION, b"", is_last=False),
            1009,
            id="too many fragments",
        ),
    ],
)
async def test_frames_beyond_the_limits_close_the_socket(frames: bytes, code: int) -> None:
    async with connected(accept) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frames)
        assert code.to_bytes(2) in await reader.readuntil(b"too m")


async def test_unread_socket_is_cut_when_the_server_stops(clock: Clock) -> None:
    state = ServerState()
    is_waiting = asyncio.Event()

    async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        is_waiting.set()
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1_000_000)})

    async with listening(send_much, state) as connect:
        _, writer = await connect()
        writer.write(UPGRADE)
        await is_waiting.wait()
        await run_pending_tasks()
        (connection,) = state.connections
        connection.shutdown()
        assert state.connections
        await clock.advance(LINGER_SECONDS)
        assert not state.connections


async def test_last_request_on_an_idle_connection_is_answered_when_the_server_stops() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"ok")

    state = ServerState()
    async with listening(app, state) as connect:
        reader, writer = await connect()
        for is_stopping in (False, True):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"connection: close" in head) is is_stopping
            await reader.readuntil(b"ok\r\n0\r\n\r\n")
            for connection in state.connections:
                connection.shutdown()
        assert await reader.read() == b""


async def test_idle_connection_is_closed_when_the_server_stops(clock: Clock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    state = ServerState()
    async with listening(app, state) as connect:
        reader, _ = await connect()
        await run_pending_tasks()
        (connection,) = state.connections
        connection.shutdown()
        await clock.advance(LAST_REQUEST_SECONDS)
        assert await reader.read() == b""


async def test_allowance_of_a_socket_is_refilled(clock: Clock) -> None:
    async with connected(accept) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(40):  # 80 kB in total; 64 kB at once are allowed.
            writer.write(16 * frame(PING, 119 * b"x"))
            await clock.advance(0.5)
        assert len(await reader.readexactly(16 * 121 * 40)) == 16 * 121 * 40


async def test_refused_handshake_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": 401, "headers": []})
        await send({"type": f"{kind}.body", "body": b"refused"})

    async with connected(app) as (reader, writer):
        writer.write(UPGRADE)
        response = await reader.read()
    assert response.startswith(b"HTTP/1.1 401 ")
    assert response.endswith(b"refused")
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


async def test_handshake_without_an_answer_logs_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async with connected(app) as (reader, writer):
        writer.write(UPGRADE)
        assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
    assert "without completing handshake" in caplog.text


async def test_handshake_with_a_long_field_returns_431() -> None:
    async with connected(accept) as (reader, writer):
        writer.write(UPGRADE.removesuffix(b"\r\n") + b"X-Long: " + 9000 * b"x" + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
