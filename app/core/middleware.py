"""What goes around the application. Pure ASGI: one BaseHTTPMiddleware costs more than all this."""

import logging
import re
import time
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
from app.core.http import ProblemResponse, effective_route, header
from app.core.policy import PolicyHeaders

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
GZIP_MINIMUM_BYTES = 1000
# Of what this site serves: add what yours does. Starlette's list is long, and read at each request.
SMALL_ALREADY = ("font/woff2", "image/png", "text/event-stream")
MAX_FORM_BYTES = 65_536
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
    app.add_middleware(
        GZipMiddleware,
        minimum_size=GZIP_MINIMUM_BYTES,
        compresslevel=5,
        exclude_content_types=SMALL_ALREADY,
    )
    app.add_middleware(TrustedHosts, allowed_hosts=settings.allowed_hosts, www_redirect=False)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        given = header(scope, b"x-request-id")
        request_id = given if SANE_REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"
        scope["request_id"] = request_id
        id_field = (b"x-request-id", request_id.encode())
        request_id_var.set(request_id)  # the server runs each request in a context of its own
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in STARTS:
                status = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), id_field]
                if status == 101:
                    _log_access(scope, status, started)
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
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

        await self.app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    if start.get("status", 101) < 400:
        return False
    return Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain")


class BodyLimit(RequestBodyLimitMiddleware):
    """Starlette's refuses when the body is read, or else as the answer leaves: an operation that
    reads none would have done its work by then. What is announced as too large gets no further."""

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        super().__init__(app, max_body_size)
        # To parse a form takes the event loop a while, and ours are short.
        self._forms = RequestBodyLimitMiddleware(app, min(max_body_size, MAX_FORM_BYTES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_form = header(scope, b"content-type").lower().startswith(FORMS)
        limit = self._forms.max_body_size if is_form else self.max_body_size
        length = header(scope, b"content-length")
        if is_bodiless(scope, length):
            await self.app(scope, receive, send)
        elif length.isdecimal() and int(length) > limit:
            refusal = PlainTextResponse("Content Too Large", 413)
            await refusal(scope, receive, send)
        elif is_form:
            await self._forms(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def is_bodiless(scope: Scope, length: str) -> bool:
    """HTTP/1 announces every body; later ones need not."""
    return (
        not length
        and scope.get("http_version", "2") < "2"
        and not header(scope, b"transfer-encoding")
    )


class TrustedHosts(TrustedHostMiddleware):
    """Probes ask by address, whatever the site's name."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/health/"):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _HeadersAreSent(Exception):
    """Ends what would go on to make a body."""


class HeadAsGet:
    """HEAD answers wherever GET does, with its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self.app(scope, receive, send)

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        fields = scope["rate_limit_fields"] = dict[str, str]()

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in fields.items():
                    headers.append(name, value)  # a 429 of another policy has its own
            await send(message)

        await self.app(scope, receive, send_with_fields)


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
        except Exception:
            if started:
                raise  # the server logs it and hangs up: half an answer must not look whole
            error_logger.exception("Unexpected error")
            problem = ProblemResponse(scope, 500, "The server failed. Its log has the request id.")
            await problem(scope, receive, send)
