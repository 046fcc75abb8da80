"""Each request's ID, access log line, and cancellation when its client disconnects."""

import asyncio
import logging
import re
import time
from random import getrandbits
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import is_health_check, request_id_var, scope_var
from app.core.http.disconnect import DisconnectWatches
from app.core.http.middleware.plain_errors import RESPONSE_STARTS
from app.core.http.scope import header, route_of

VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
CLIENT_CLOSED_REQUEST = 499  # nginx's status, which appears in the log only
REFUSED_HANDSHAKE = 403  # what a server answers when a WebSocket is closed and not accepted

access_logger = logging.getLogger("app.access")


class RequestContext:
    """Middleware that sets the request ID, and writes the access log instead of uvicorn.

    The line of a WebSocket is about its handshake.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._watches = DisconnectWatches()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        request_id = header(scope, b"x-request-id")
        if not VALID_REQUEST_ID.fullmatch(request_id):
            request_id = f"{getrandbits(128):032x}"
        scope["request_id"] = request_id
        id_field = (b"x-request-id", request_id.encode())
        request_id_var.set(request_id)  # The server runs each request in its own context.
        scope_var.set(scope)
        started, status = time.perf_counter(), 500
        watch = None
        if scope["type"] == "http":
            watch = self._watches.start(receive)
            receive = watch.receive

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in RESPONSE_STARTS:
                status = message.get("status", 101)
                if watch:
                    watch.may_cancel = False
                message["headers"] = [*message.get("headers", ()), id_field]
                if status == 101:
                    _log_access(scope, status, started)
            elif message["type"] == "websocket.close" and status != 101:
                status = REFUSED_HANDSHAKE
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not watch or not watch.has_cancelled:
                raise
            status = CLIENT_CLOSED_REQUEST
        finally:
            if watch:
                self._watches.stop(watch)
            if status != 101:
                _log_access(scope, status, started)


def _log_access(scope: Scope, status: int, started: float) -> None:
    # Probes ask every few seconds: what an operator wants to read is that they fail.
    is_probe = status < 400 and is_health_check(scope)
    level = logging.DEBUG if is_probe else logging.INFO
    if not access_logger.isEnabledFor(level):
        return
    fields = {
        "name": access_logger.name,
        "levelno": level,
        "levelname": logging.getLevelName(level),
        "msg": "request",
        "method": scope.get("method", "WEBSOCKET"),
        "path": quote(scope["path"]),  # without the query string, which may contain secrets
        "route": route_of(scope),
        "status": status,
        "duration_ms": round(1000 * (time.perf_counter() - started), 1),
    }
    # info() would also look up the line of its caller.
    access_logger.handle(logging.makeLogRecord(fields))
