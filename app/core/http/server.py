"""Limits on what one connection can make the server hold or wait for: uvicorn has none for them.

The protocols below are uvicorn's own, with a bound on the request head, on the requests sent ahead,
on the data that a WebSocket's client sends, on the time that a client takes, and on the number of
connections.
"""

import asyncio
import fcntl
import logging
import resource
import socket
import struct
import sys
import termios
from enum import Enum, auto
from heapq import nsmallest
from random import getrandbits
from typing import Any, ClassVar, TypeGuard

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.core.config import Settings, get_settings
from app.core.context import request_id_var
from app.core.http.problem_kinds import KINDS, ProblemKind, phrase_of
from app.core.http.problems import RETRY_AFTER_SECONDS, ProblemResponse

GRACEFUL_SHUTDOWN_SECONDS = 20
# On a machine short of CPU, importing the application takes longer than uvicorn's default of 5 s.
HUNG_WORKER_SECONDS = 60
OTHER_OPEN_FILES = 500  # besides the clients' connections: databases, logs, listeners

MAX_HEAD_BYTES = 65_536  # request line and fields; trailers have as much
MAX_FIELDS = 100  # trailers included
MAX_PIPELINED = 20  # requests that wait for the answer to an earlier one
MAX_PIPELINED_BYTES = 524_288  # of the last one's body
MIN_BODY_BYTES = 10_000  # must arrive within REQUEST_TIMEOUT, or the rest of the body
LINGER_SECONDS = 2
LINGER_BYTES = 1_048_576
CHECK_SECONDS = 0.5
WARNING_SECONDS = 60

PING_SECONDS = 20  # a WebSocket's client then has as long to answer
MAX_SOCKET_MESSAGE_BYTES = 1024
MAX_FRAGMENTS = 64  # of one message
SOCKET_BURST_BYTES = 65_536
SOCKET_BYTES_PER_SECOND = 4096
POLICY_VIOLATION, MESSAGE_TOO_BIG = 1008, 1009

logger = logging.getLogger("app.server")
# A client must not be able to fill the log: uvicorn warns at each invalid request.
quiet_logger = logging.getLogger("uvicorn.error.http")
quiet_logger.setLevel(logging.ERROR)


def server_options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn, for `uvicorn.run()`."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": HttpProtocol,
        "ws": WebSocketProtocol,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
        "timeout_worker_healthcheck": HUNG_WORKER_SECONDS,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "ws_max_size": MAX_SOCKET_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # it takes 40 kB a socket, and short messages stay as long
        "server_header": False,
        "access_log": False,  # app.core.http.middleware writes one
        "log_config": None,
    }


def raise_open_file_limit(connections: int) -> None:
    """Raise the soft limit on open files, often 1024, as far as so many connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_OPEN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Stage(Enum):
    """What a connection waits for."""

    IDLE = auto()  # the first byte of a request
    HEAD = auto()
    BODY = auto()
    SERVER = auto()  # the application, which takes the time that it takes
    READER = auto()  # the client has to read what was sent
    CLOSE = auto()  # the client was refused, and has to read why


class TimedProtocol(asyncio.Protocol):
    """A connection that ends when its client makes no progress for too long.

    One timer for each connection compares what was reached with what was reached before, so that
    the time is not taken at each request.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        settings = get_settings()
        self.seconds = {
            Stage.IDLE: settings.request_timeout,
            Stage.HEAD: settings.request_timeout,
            Stage.BODY: settings.request_timeout,
            Stage.READER: settings.response_timeout,
            Stage.CLOSE: LINGER_SECONDS,
        }
        self.since = self.loop.time()
        self.last_progress = self.progress()
        self.last_unsent = 0
        self.check_timer = self.loop.call_later(CHECK_SECONDS, self.check)

    def connection_lost(self, exc: Exception | None) -> None:
        self.check_timer.cancel()
        super().connection_lost(exc)

    def progress(self) -> tuple[Stage, int]:
        """Return the stage, and a number that differs whenever the client got ahead in it."""
        if self.transport.get_write_buffer_size():
            return Stage.READER, 0
        return Stage.SERVER, 0

    def check(self) -> None:
        self.check_timer = self.loop.call_later(CHECK_SECONDS, self.check)
        progress, unsent = self.progress(), self.unsent()
        if progress != self.last_progress or unsent < self.last_unsent:
            self.since = self.loop.time()
        self.last_progress, self.last_unsent = progress, unsent
        seconds = self.seconds.get(progress[0])
        if seconds is not None and self.loop.time() - self.since >= seconds:
            self.time_out(progress[0])

    def unsent(self) -> int:
        """Return the bytes that the client has not received, as far as the kernel knows: it takes
        more from this process only when a good part of what it has is gone."""
        size = self.transport.get_write_buffer_size()
        if size:
            descriptor = self.transport.get_extra_info("socket").fileno()
            answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
            size += int.from_bytes(answer, sys.byteorder)
        return size

    def time_out(self, stage: Stage) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset the connection, so that the kernel keeps nothing for its client either."""
        self.check_timer.cancel()
        if self.transport.get_write_buffer_size() or not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class RequestRefused(Exception):
    """Stops the parser, in one of its callbacks."""


class HttpProtocol(TimedProtocol, HttpToolsProtocol):
    """HTTP/1.1 with limits.

    Bytes are counted as they come, in pieces of up to 256 kB; sizes are added up field by field
    only when a piece was large enough to hide a head beyond the limit.
    """

    warned_at: ClassVar = float("-inf")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = quiet_logger
        self.url = b""
        self.headers = []
        self.heads = 0  # that were read so far
        self.received = 0  # bytes
        self.accounted = 0  # bytes received until the last head or piece of a body
        self.piece = 0  # bytes received last
        self.ahead: list[RequestResponseCycle] = []  # requests not answered yet, but for the last
        self.refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.max_connections = get_settings().max_connections
        if len(self.connections) > self.max_connections:
            self.make_room()

    def make_room(self) -> None:
        """Close the connections that wait longest for their clients, or else this one."""
        if self.loop.time() - HttpProtocol.warned_at > WARNING_SECONDS:
            HttpProtocol.warned_at = self.loop.time()
            logger.warning(
                "All connections are in use: MAX_CONNECTIONS is %d", self.max_connections
            )
        waiting = [each for each in self.connections if self.may_close(each)]
        count = 1 + self.max_connections // 20  # since looking at all takes a millisecond
        for each in nsmallest(count, waiting, key=lambda other: other.since):
            self.connections.discard(each)  # now, since the next connection counts them again
            each.cut()
        if not waiting:
            self.refuse(
                KINDS["overloaded"], "Too many connections are open. Try again in a moment."
            )
            self.connections.discard(self)
            self.transport.close()

    def may_close(self, other: asyncio.Protocol) -> TypeGuard["HttpProtocol"]:
        if other is self or not isinstance(other, HttpProtocol):
            return False
        return other.progress()[0] is not Stage.SERVER

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.piece = len(data)
        if self.refused:
            if self.received - self.accounted > LINGER_BYTES:
                self.cut()
            return
        super().data_received(data)
        if (
            self.received - self.accounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS
        ) and not self.refused:
            self.refuse_head()

    def on_headers_complete(self) -> None:
        unaccounted = max(self.received - self.accounted, self.piece)
        if unaccounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            self.check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self.refuse(
                KINDS["too-many-at-once"],
                f"More than {MAX_PIPELINED} requests on this connection wait for an earlier one. "
                "Wait for the responses, or open another connection.",
            )
            raise RequestRefused
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self.ahead = [each for each in (*self.ahead, before) if not each.response_complete]
        self.scope["headers"] = self.headers[:]  # trailers are counted, but not of the request
        self.accounted = self.received
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.accounted = self.received
        super().on_body(body)
        if self.pipeline and len(self.cycle.body) > MAX_PIPELINED_BYTES:
            self.refuse(
                KINDS["too-many-at-once"],
                f"More than {MAX_PIPELINED_BYTES:,} bytes of a body were sent before the earlier "
                "requests on this connection were answered. Wait for the responses.",
            )
            raise RequestRefused

    def on_message_complete(self) -> None:
        if len(self.headers) != len(self.scope["headers"]):  # type: ignore[arg-type]  # it is a list
            self.check_head()  # with its trailers
        super().on_message_complete()

    def check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            self.refuse_head()
            raise RequestRefused

    def refuse_head(self) -> None:
        self.refuse(
            KINDS["request-head-too-large"],
            "The request head is too large. The limits are "
            f"{MAX_HEAD_BYTES:,} bytes and {MAX_FIELDS} header fields.",
        )

    def send_400_response(self, msg: str) -> None:
        if not self.refused:  # else the parser was stopped on purpose
            self.refuse(KINDS["bad-request"], "The request is not valid HTTP/1.1.")

    def refuse(self, kind: ProblemKind, detail: str) -> None:
        """Answer the request that is being read, where that can be, and close the connection."""
        self.refused = True
        self.accounted = self.received
        request_id = f"{getrandbits(128):032x}"
        token = request_id_var.set(request_id)
        logger.info("A request was refused with %d: %s", kind.status, detail)
        request_id_var.reset(token)
        can_answer = self.can_answer()
        self.disconnect_application()
        if not can_answer:
            self.transport.close()
            return
        self.transport.write(self.problem(kind, detail, request_id))
        # Closing while more comes in would reset the connection, and the client might not see why.
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()

    def disconnect_application(self) -> None:
        """Let the application send no more: writing to a closed transport is an error."""
        for each in (*self.ahead, self.cycle):
            if each is not None:
                each.disconnected = True
                each.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnect_application()  # uvicorn tells the last request's alone
        super().connection_lost(exc)

    def cut(self) -> None:
        self.disconnect_application()
        super().cut()

    def can_answer(self) -> bool:
        """Whether the next response that the client expects is that to the refused request."""
        if self.pipeline or self.transport.is_closing():
            return False
        return (
            self.cycle is None
            or self.cycle.response_complete
            or (self.cycle.more_body and not self.cycle.response_started)
        )

    def problem(self, kind: ProblemKind, detail: str, request_id: str) -> bytes:
        path = self.url.partition(b"?")[0][:1000].decode("latin-1")
        fields = {"Connection": "close", "X-Request-ID": request_id}
        if kind.status == 503:
            fields["Retry-After"] = RETRY_AFTER_SECONDS
        scope = {"path": path, "request_id": request_id}
        response = ProblemResponse(scope, kind, detail, fields)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [f"HTTP/1.1 {kind.status} {phrase_of(kind.status)}".encode()]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join([*lines, b"", bytes(response.body)])

    def handle_websocket_upgrade(self) -> None:
        self.check_timer.cancel()  # the new protocol has its own
        super().handle_websocket_upgrade()

    def progress(self) -> tuple[Stage, int]:
        cycle = self.cycle
        if self.transport.get_write_buffer_size():
            return Stage.READER, 0
        if self.refused:
            return Stage.CLOSE, 0
        if cycle is None or cycle.response_complete:
            return (Stage.HEAD if self.is_in_head() else Stage.IDLE), self.heads
        is_read = not (cycle.response_started or self.flow.read_paused)
        if cycle.more_body and is_read and not cycle.waiting_for_100_continue:
            return Stage.BODY, self.received // MIN_BODY_BYTES
        return Stage.SERVER, 0

    def is_in_head(self) -> bool:
        return self.scope is not None and "method" not in self.scope

    def time_out(self, stage: Stage) -> None:
        if stage in (Stage.HEAD, Stage.BODY):
            self.refuse(
                KINDS["request-timeout"],
                f"The request did not arrive in time. The limit is {self.seconds[stage]:g} seconds "
                f"for the head, and for each {MIN_BODY_BYTES:,} bytes of the body.",
            )
        elif stage is Stage.IDLE:
            self.transport.close()
        else:
            self.cut()


class WebSocketProtocol(TimedProtocol, WebSocketsSansIOProtocol):
    """A WebSocket whose client sends no more than it may.

    The library bounds a message, not how many messages, pings or empty fragments there are.
    """

    allowance: float = SOCKET_BURST_BYTES

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            self.receive_handshake(data)
        elif not self.handshake_complete:
            self.cut()  # the client has to wait for the answer
        elif len(data) > self.allowance:
            self.refuse(POLICY_VIOLATION, "too much data")
        else:
            self.allowance -= len(data)
            super().data_received(data)
            if len(self.frames) > MAX_FRAGMENTS:
                self.refuse(MESSAGE_TOO_BIG, "too many fragments")

    def receive_handshake(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # the library refuses lines of more than 8 kB
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def refuse(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            self.cut()
            return
        self.conn.send_close(code, reason)
        self.handle_parser_exception()

    def check(self) -> None:
        refill = SOCKET_BYTES_PER_SECOND * CHECK_SECONDS
        self.allowance = min(SOCKET_BURST_BYTES, self.allowance + refill)
        super().check()
