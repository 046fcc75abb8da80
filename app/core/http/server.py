"""uvicorn's protocols with limits, so that no client can exhaust the server.

uvicorn itself does not limit the size of a request head, the number of pipelined requests, the data
that a WebSocket's client sends, the time that a client takes, and the number of connections.
"""

import asyncio
import errno
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
# On a slow machine, a worker takes longer than uvicorn's default of 5 s until it can answer.
HUNG_WORKER_SECONDS = 10
OTHER_OPEN_FILES = 500  # for database connections, logs and listening sockets

MAX_HEAD_BYTES = 65_536  # the request line and the header fields; as much again for trailers
MAX_FIELDS = 100  # including trailers
MAX_PIPELINED = 20  # requests that wait for the response to an earlier one
MAX_PIPELINED_BYTES = 524_288  # the body of the last of these
MIN_BODY_BYTES = 10_000  # The client must send so much, or the rest, within REQUEST_TIMEOUT.
LINGER_SECONDS = 2
OVERFLOW = 100  # connections beyond MAX_CONNECTIONS that are kept until they send a request
OVERFLOW_SECONDS = 2
LAST_REQUEST_SECONDS = 1  # that a connection waits for one more request when the server stops
LINGER_BYTES = 1_048_576
CHECK_SECONDS = 0.5
WARNING_SECONDS = 60

PING_SECONDS = 20  # between pings, and then until the client must have responded
MAX_SOCKET_MESSAGE_BYTES = 1024
MAX_FRAGMENTS = 64  # of one message
SOCKET_BURST_BYTES = 65_536
SOCKET_BYTES_PER_SECOND = 4096
POLICY_VIOLATION, MESSAGE_TOO_BIG = 1008, 1009

logger = logging.getLogger("app.server")
# uvicorn logs a warning for each invalid request, by which a client could fill the log.
quiet_logger = logging.getLogger("uvicorn.error.http")
quiet_logger.setLevel(logging.ERROR)


def server_options(settings: Settings) -> dict[str, Any]:
    """Return the options for `uvicorn.run()`."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": HttpProtocol,
        "ws": WebSocketProtocol,
        "loop": "app.core.http.listener:Loop",
        "root_path": settings.root_path,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
        "timeout_worker_healthcheck": HUNG_WORKER_SECONDS,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "ws_max_size": MAX_SOCKET_MESSAGE_BYTES,
        # Compression takes 40 kB for each socket, and does not shorten short messages.
        "ws_per_message_deflate": False,
        "server_header": False,
        "access_log": False,  # app.core.http.middleware writes one.
        "log_config": None,
    }


def require_free_port(host: str, port: int) -> None:
    """Refuse an address that the server cannot listen on, before anything else is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        advice = "Set another HOST or PORT."
        if error.errno == errno.EADDRINUSE:
            advice = f"Take another port, such as: PORT={port % 65535 + 1} make run"
        message = f"The server cannot listen on {host}, port {port}: {reason}. {advice}"
        raise SystemExit(message) from None


def raise_open_file_limit(connections: int) -> None:
    """Raise the soft limit on open files, which is often 1024, to what the connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = connections + OTHER_OPEN_FILES
    if hard != resource.RLIM_INFINITY:
        required = min(required, hard)
    if soft != resource.RLIM_INFINITY and soft < required:
        resource.setrlimit(resource.RLIMIT_NOFILE, (required, hard))


class Stage(Enum):
    """The event that a connection is waiting for."""

    IDLE = auto()  # the first byte of a request
    HEAD = auto()  # the rest of the request head
    BODY = auto()  # more of the request body
    SERVER = auto()  # the application, which has no time limit
    READER = auto()  # the client, to read the response
    CLOSE = auto()  # the client, to read why it was refused


class TimedProtocol(asyncio.Protocol):
    """A connection that is closed when its client makes no progress for too long.

    One timer for each connection compares its progress with that at the last check, which is
    cheaper than to take the time at each request.
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
        """Return the stage, and a number that changes when the client makes progress in it."""
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
        """Return the number of bytes that the client has not received.

        This includes the kernel's send buffer: the kernel takes more from this process only after
        a good part of its buffer was sent.
        """
        size = self.transport.get_write_buffer_size()
        if size:
            descriptor = self.transport.get_extra_info("socket").fileno()
            kernel_size = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
            size += int.from_bytes(kernel_size, sys.byteorder)
        return size

    def time_out(self, stage: Stage) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset the connection, so that the kernel discards its buffers at once."""
        self.check_timer.cancel()
        if self.transport.get_write_buffer_size() or not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class RequestRefused(Exception):
    """Raised in a callback of the parser, to stop it."""


class HttpProtocol(TimedProtocol, HttpToolsProtocol):
    """HTTP/1.1 with limits.

    Received bytes are counted chunk by chunk, up to 256 kB each. The exact size of a head is only
    computed if the chunks were large enough to contain a head beyond the limit.
    """

    warned_at: ClassVar = float("-inf")
    overflow: ClassVar = set["HttpProtocol"]()

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
        self.head_count = 0
        self.received_bytes = 0
        self.accounted_bytes = 0  # received up to the last complete head or part of a body
        self.chunk_bytes = 0  # received last
        self.earlier_cycles: list[RequestResponseCycle] = []  # unfinished, before `self.cycle`
        self.refused = False
        self.is_stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.max_connections = get_settings().max_connections
        if len(self.connections) <= self.max_connections:
            return
        if len(self.overflow) < OVERFLOW:
            self.connections.discard(self)
            self.overflow.add(self)
            self.seconds |= {Stage.IDLE: OVERFLOW_SECONDS, Stage.HEAD: OVERFLOW_SECONDS}
        elif not self.close_idle_connections():
            self.refuse_connection()
            self.connections.discard(self)
            self.transport.close()

    def leave_overflow(self) -> None:
        """Take the place of a connection that waits for its client, or refuse the request."""
        self.overflow.discard(self)
        if len(self.connections) >= self.max_connections and not self.close_idle_connections():
            self.refuse_connection()
            raise RequestRefused
        self.connections.add(self)
        self.seconds |= dict.fromkeys((Stage.IDLE, Stage.HEAD), get_settings().request_timeout)

    def close_idle_connections(self) -> bool:
        """Close the connections that have waited longest for their clients. Return if any has."""
        if self.loop.time() - HttpProtocol.warned_at > WARNING_SECONDS:
            HttpProtocol.warned_at = self.loop.time()
            logger.warning(
                "All connections are in use: MAX_CONNECTIONS is %d", self.max_connections
            )
        waiting = [connection for connection in self.connections if self.may_close(connection)]
        count = 1 + self.max_connections // 20  # Several, since the search takes a millisecond.
        for connection in nsmallest(count, waiting, key=lambda connection: connection.since):
            self.connections.discard(connection)  # The next connection must not count it.
            connection.reset()
        return bool(waiting)

    def refuse_connection(self) -> None:
        self.refuse(KINDS["overloaded"], "Too many connections are open. Try again in a moment.")

    def may_close(self, other: asyncio.Protocol) -> TypeGuard["HttpProtocol"]:
        if other is self or not isinstance(other, HttpProtocol):
            return False
        return other.progress()[0] is not Stage.SERVER

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self.chunk_bytes = len(data)
        if self.refused:
            if self.received_bytes - self.accounted_bytes > LINGER_BYTES:
                self.reset()
            return
        super().data_received(data)
        unaccounted = self.received_bytes - self.accounted_bytes
        is_too_large = unaccounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS
        if is_too_large and not self.refused:
            self.refuse_head()

    def on_headers_complete(self) -> None:
        unaccounted = max(self.received_bytes - self.accounted_bytes, self.chunk_bytes)
        if unaccounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            self.check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self.refuse(
                KINDS["too-many-at-once"],
                f"More than {MAX_PIPELINED} requests on this connection wait for an earlier one. "
                "Wait for the responses, or open another connection.",
            )
            raise RequestRefused
        # An orchestrator would restart a process that refuses its health checks.
        if self in self.overflow and not self.url.startswith(b"/health/"):
            self.leave_overflow()
        previous = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            cycles = (*self.earlier_cycles, previous)
            self.earlier_cycles = [cycle for cycle in cycles if not cycle.response_complete]
        if self.cycle and (self.is_stopping or self in self.overflow):
            self.cycle.keep_alive = False
        self.scope["headers"] = self.headers[:]  # A copy, which trailers are not appended to.
        self.accounted_bytes = self.received_bytes
        self.head_count += 1

    def on_body(self, body: bytes) -> None:
        self.accounted_bytes = self.received_bytes
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
            self.check_head()  # includes the trailers
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
        if not self.refused:  # Otherwise RequestRefused has stopped the parser.
            self.refuse(KINDS["bad-request"], "The request is not valid HTTP/1.1.")

    def refuse(self, kind: ProblemKind, detail: str) -> None:
        """Respond to the request that is being read, if possible, and close the connection."""
        self.refused = True
        self.accounted_bytes = self.received_bytes
        request_id = f"{getrandbits(128):032x}"
        token = request_id_var.set(request_id)
        logger.info("A request was refused with %d: %s", kind.status, detail)
        request_id_var.reset(token)
        can_respond = self.can_respond()
        self.disconnect_application()
        if not can_respond:
            self.transport.close()
            return
        self.transport.write(self.problem(kind, detail, request_id))
        # Closing the socket while it has unread data would reset the connection, and the client
        # might not receive the response.
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # TLS cannot.
            self.transport.write_eof()

    def disconnect_application(self) -> None:
        """Discard what the application still sends: writing to a closed transport is an error."""
        for cycle in (*self.earlier_cycles, self.cycle):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.overflow.discard(self)
        self.disconnect_application()  # uvicorn only disconnects the last request.
        super().connection_lost(exc)

    def reset(self) -> None:
        self.disconnect_application()
        super().reset()

    def can_respond(self) -> bool:
        """Return whether the client expects the response to the refused request next."""
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

    def shutdown(self) -> None:
        """Close the connection after the next response that can say so."""
        self.is_stopping = True
        if self.cycle is None or self.cycle.response_started:
            # A request may be on its way. If none arrives, the connection is closed without one.
            self.loop.call_later(LAST_REQUEST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        self.check_timer.cancel()  # The WebSocket's protocol has its own.
        self.overflow.discard(self)
        super().handle_websocket_upgrade()

    def progress(self) -> tuple[Stage, int]:
        cycle = self.cycle
        if self.transport.get_write_buffer_size():
            return Stage.READER, 0
        if self.refused:
            return Stage.CLOSE, 0
        if cycle is None or cycle.response_complete:
            return (Stage.HEAD if self.is_in_head() else Stage.IDLE), self.head_count
        is_read = not (cycle.response_started or self.flow.read_paused)
        if cycle.more_body and is_read and not cycle.waiting_for_100_continue:
            return Stage.BODY, self.received_bytes // MIN_BODY_BYTES
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
            self.reset()


class WebSocketProtocol(TimedProtocol, WebSocketsSansIOProtocol):
    """A WebSocket with a limit on the rate at which its client sends.

    The library limits the size of a message, but not the number of messages, pings and empty
    fragments.
    """

    allowance: float = SOCKET_BURST_BYTES

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            self.receive_handshake(data)
        elif not self.handshake_complete:
            self.reset()  # The client has to wait for the response.
        elif len(data) > self.allowance:
            self.refuse(POLICY_VIOLATION, "too much data")
        else:
            self.allowance -= len(data)
            super().data_received(data)
            if len(self.frames) > MAX_FRAGMENTS:
                self.refuse(MESSAGE_TOO_BIG, "too many fragments")

    async def send(self, message: Any) -> None:
        """Send a message, and note that a refusal completes the handshake.

        Otherwise, the library logs an error for each refused handshake.
        """
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def receive_handshake(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # The library refuses lines of more than 8 kB.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def refuse(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            self.reset()
            return
        self.conn.send_close(code, reason)
        self.handle_parser_exception()

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(LINGER_SECONDS, self.reset)  # if the client does not read

    def check(self) -> None:
        refill = SOCKET_BYTES_PER_SECOND * CHECK_SECONDS
        self.allowance = min(SOCKET_BURST_BYTES, self.allowance + refill)
        super().check()
