"""What goes around the application. Pure ASGI: one BaseHTTPMiddleware costs more than all this.

What only passes a request on, or changes what is sent, returns what the next one returns: each
coroutine in between would be stepped through whenever the request waits for something.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from random import getrandbits
from urllib.parse import quote

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import Settings
from app.core.disconnect import DisconnectWatches
from app.core.http import ProblemResponse, drop_tracebacks, effective_route, header
from app.core.policy import PolicyHeaders

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PLAIN_NAME = re.compile(r"[a-z0-9.-]+")
GZIP_MINIMUM_BYTES = 1000
# Of what this site serves: add what yours does. Starlette's list is long, and read at each request.
SMALL_ALREADY = ("font/woff2", "image/png", "text/event-stream")
MAX_FORM_BYTES = 65_536
CLIENT_CLOSED_REQUEST = 499  # nginx's, for the log alone
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
EXPOSED_HEADERS = [
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
]

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
access_logger = logging.getLogger("app.access")
error_logger = logging.getLogger("app.error")


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(UnexpectedErrors)
    if settings.rate_limit_default:
        app.add_middleware(RateLimitFields)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Compression)
    app.add_middleware(TrustedHosts, allowed_hosts=settings.allowed_hosts)
    app.add_middleware(BodyLimit, max_body_size=settings.max_body_bytes)
    if settings.cors_origins:  # outside of what refuses: a script may read why
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(PlainErrorsAsProblems)
    app.add_middleware(RequestContext)
    app.add_middleware(PolicyHeaders, settings=settings)


class RequestContext:
    """The request's id, and its line in the access log, in the place of uvicorn's. That of a
    WebSocket is of its handshake."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._watches = DisconnectWatches()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        given = header(scope, b"x-request-id")
        request_id = given if SANE_REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"
        scope["request_id"] = request_id
        id_field = (b"x-request-id", request_id.encode())
        request_id_var.set(request_id)  # the server runs each request in a context of its own
        started, status = time.perf_counter(), 500
        watch = None
        if scope["type"] == "http":
            watch = self._watches.start(receive)
            receive = watch.receive

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in STARTS:
                status = message.get("status", 101)
                if watch:
                    watch.may_cancel = False
                message["headers"] = [*message.get("headers", ()), id_field]
                if status == 101:
                    _log_access(scope, status, started)
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
    if not access_logger.isEnabledFor(logging.INFO):
        return
    fields = {
        "name": access_logger.name,
        "levelno": logging.INFO,
        "levelname": "INFO",
        "msg": "request",
        "method": scope.get("method", "WEBSOCKET"),
        "path": quote(scope["path"]),  # without the query string: it may hold secrets
        "route": route_of(scope),
        "status": status,
        "duration_ms": round(1000 * (time.perf_counter() - started), 1),
    }
    access_logger.handle(logging.makeLogRecord(fields))  # info() would look for its caller's line


def route_of(scope: Scope) -> str | None:
    """The path's template."""
    return getattr(effective_route(scope), "path_format", None)


class PlainErrorsAsProblems:
    """Starlette's middleware answers in plain text (413, a wrong host); clients get one shape."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        start: Message | None = None
        text = b""

        async def send_problem(message: Message) -> None:
            nonlocal start, text
            if message["type"] in STARTS and _is_plain_error(message):
                start = message
            elif start is None:
                await send(message)
            else:
                text += message.get("body", b"")
                if not message.get("more_body"):
                    headers = MutableHeaders(scope=start)
                    del headers["content-length"], headers["content-type"]
                    problem = ProblemResponse(scope, start["status"], text.decode(), headers)
                    await problem(scope, receive, send)

        return self.app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    if start.get("status", 101) < 400:
        return False
    return Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain")


class BodyLimit:
    """Starlette's refuses when the body is read, or else as the answer leaves: an operation that
    reads none would have done its work by then. What is announced as too large gets no further."""

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        self.app = app
        self._bodies = RequestBodyLimitMiddleware(app, max_body_size)
        # To parse a form takes the event loop a while, and ours are short.
        self._forms = RequestBodyLimitMiddleware(app, min(max_body_size, MAX_FORM_BYTES))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        length = header(scope, b"content-length")
        if is_bodiless(scope, length):
            return self.app(scope, receive, send)
        is_form = header(scope, b"content-type").lower().startswith(FORMS)
        limited = self._forms if is_form else self._bodies
        if length.isdecimal() and int(length) > limited.max_body_size:
            return PlainTextResponse("Content Too Large", 413)(scope, receive, send)
        return limited(scope, receive, send)


def is_bodiless(scope: Scope, length: str) -> bool:
    """HTTP/1 announces every body; later ones need not."""
    return (
        not length
        and scope.get("http_version", "2") < "2"
        and not header(scope, b"transfer-encoding")
    )


class TrustedHosts:
    """Probes ask by address, whatever the site's name. A plain name that is in the list needs no
    patterns."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self.app = app
        self._names = {name for name in allowed_hosts if PLAIN_NAME.fullmatch(name)}
        self._others = TrustedHostMiddleware(app, allowed_hosts, www_redirect=False)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        kind = scope["type"]
        if kind == "lifespan" or (kind == "http" and scope["path"].startswith("/health/")):
            return self.app(scope, receive, send)
        host = header(scope, b"host")
        name, _, port = host.rpartition(":")
        is_known = host in self._names or (name in self._names and port.isdecimal())
        return (self.app if is_known else self._others)(scope, receive, send)


class Compression:
    """Most answers say that they are too small for it, and go around Starlette's, which costs as
    much as all else that is here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._gzip = GZipMiddleware(
            _hand_out,
            minimum_size=GZIP_MINIMUM_BYTES,
            compresslevel=5,
            exclude_content_types=SMALL_ALREADY,
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        chosen = send

        async def send_or_compress(message: Message) -> None:
            nonlocal chosen
            if message["type"] == "http.response.start" and not _is_small(message):
                await self._gzip(scope, receive, send)
                chosen = scope.pop("compress")
            await chosen(message)

        return self.app(scope, receive, send_or_compress)


async def _hand_out(scope: Scope, receive: Receive, send: Send) -> None:
    """In the place of an application: what is sent by this is compressed."""
    scope["compress"] = send


def _is_small(start: Message) -> bool:
    length = header(start, b"content-length")
    return length.isdecimal() and int(length) < GZIP_MINIMUM_BYTES


class _HeadersAreSent(Exception):
    """Ends what would go on to make a body."""


class HeadAsGet:
    """HEAD answers wherever GET does, with its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        return (self._answer if is_head else self.app)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_headers(message: Message) -> None:
            if message["type"] != "http.response.body":
                return await send(message)
            await send({"type": "http.response.body", "body": b""})
            if message.get("more_body"):
                raise _HeadersAreSent

        inner = {**scope, "method": "GET"}  # the server looks at its own scope: it sends no body
        try:
            await self.app(inner, receive, send_headers)
        except* _HeadersAreSent:  # a stream of events has a group of tasks around it
            pass
        scope.update(inner, method="HEAD")  # what the log wants to know of the route


class RateLimitFields:
    """Where the client stands, on every answer that was counted, whoever makes it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        fields = scope["rate_limit_fields"] = dict[str, str]()

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in fields.items():
                    headers.append(name, value)  # a 429 of another policy has its own
            await send(message)

        return self.app(scope, receive, send_with_fields)


class UnexpectedErrors:
    """A bug is a 500 without a word of its inside, and one log line with all of it.

    Innermost, so that the answer gets what every other gets (the request id, CORS).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if started:
                raise  # the server logs it and hangs up: half an answer must not look whole
            error_logger.exception("Unexpected error")
            drop_tracebacks(error)
            problem = ProblemResponse(scope, 500, "The server failed. Its log has the request id.")
            await problem(scope, receive, send)
