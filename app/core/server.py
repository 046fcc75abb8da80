"""Limits on what one connection can make the server hold or wait for: uvicorn has none for them.

The protocol below is uvicorn's own, with a bound on the request head and on the requests that are
sent ahead.
"""

import logging
from asyncio import AbstractEventLoop
from random import getrandbits
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.core.config import Settings
from app.core.http import ProblemResponse, title_of
from app.core.middleware import request_id_var

GRACEFUL_SHUTDOWN_SECONDS = 20
# On a machine short of CPU, importing the application takes longer than uvicorn's default of 5 s.
HUNG_WORKER_SECONDS = 60

MAX_HEAD_BYTES = 65_536  # request line and fields; trailers have as much
MAX_FIELDS = 100  # trailers included
MAX_PIPELINED = 20  # requests that wait for the answer to an earlier one
MAX_PIPELINED_BYTES = 524_288  # of the last one's body
LINGER_BYTES = 1_048_576

PING_SECONDS = 20  # a WebSocket's client then has as long to answer
MAX_SOCKET_MESSAGE_BYTES = 1024

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
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
        "timeout_worker_healthcheck": HUNG_WORKER_SECONDS,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "ws_max_size": MAX_SOCKET_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # it takes 40 kB a socket, and short messages stay as long
        "server_header": False,
        "access_log": False,  # app.core.middleware writes one
        "log_config": None,
    }


class RequestRefused(Exception):
    """Stops the parser, in one of its callbacks."""


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits.

    Bytes are counted as they come, in pieces of up to 256 kB; sizes are added up field by field
    only when a piece was large enough to hide a head beyond the limit.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = quiet_logger
        self.url = b""
        self.headers = []
        self.received = 0  # bytes
        self.accounted = 0  # bytes received until the last head or piece of a body
        self.ahead: list[RequestResponseCycle] = []  # requests not answered yet, but for the last
        self.refused = False

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.refused:
            if self.received - self.accounted > LINGER_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        if (
            self.received - self.accounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS
        ) and not self.refused:
            self.refuse_head()

    def on_headers_complete(self) -> None:
        if self.received - self.accounted > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            self.check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self.refuse(429, f"More than {MAX_PIPELINED} requests wait for an earlier one.")
            raise RequestRefused
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self.ahead = [each for each in (*self.ahead, before) if not each.response_complete]
        self.scope["headers"] = self.headers[:]  # trailers are counted, but not of the request
        self.accounted = self.received

    def on_body(self, body: bytes) -> None:
        self.accounted = self.received
        super().on_body(body)
        if self.pipeline and len(self.cycle.body) > MAX_PIPELINED_BYTES:
            self.refuse(429, "The body was sent before the requests ahead of it were answered.")
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
            431,
            f"The request line and the header fields may have {MAX_HEAD_BYTES} bytes together, "
            f"and there may be {MAX_FIELDS} fields.",
        )

    def send_400_response(self, msg: str) -> None:
        if not self.refused:  # else the parser was stopped on purpose
            self.refuse(400, "The request is not valid HTTP/1.1.")

    def refuse(self, status: int, detail: str) -> None:
        """Answer the request that is being read, where that can be, and close the connection."""
        self.refused = True
        self.accounted = self.received
        request_id = f"{getrandbits(128):032x}"
        token = request_id_var.set(request_id)
        logger.info("A request was refused with %d: %s", status, detail)
        request_id_var.reset(token)
        can_answer = self.can_answer()
        self.disconnect_application()
        if not can_answer:
            self.transport.close()
            return
        self.transport.write(self.problem(status, detail, request_id))
        # Closing while more comes in would reset the connection, and the client might not see why.
        self.flow.resume_reading()
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

    def can_answer(self) -> bool:
        """Whether the next response that the client expects is that to the refused request."""
        if self.pipeline or self.transport.is_closing():
            return False
        return (
            self.cycle is None
            or self.cycle.response_complete
            or (self.cycle.more_body and not self.cycle.response_started)
        )

    def problem(self, status: int, detail: str, request_id: str) -> bytes:
        path = self.url.partition(b"?")[0][:1000].decode("latin-1")
        fields = {"Connection": "close", "X-Request-ID": request_id}
        scope = {"path": path, "request_id": request_id}
        response = ProblemResponse(scope, status, detail, fields)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [f"HTTP/1.1 {status} {title_of(status)}".encode()]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join([*lines, b"", bytes(response.body)])
