"""A limit on the size of request bodies."""

from collections.abc import Awaitable
from typing import NamedTuple

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from app.core.http.scope import header
from app.core.http.uploads import UploadRoutes

MAX_FORM_BYTES = 65_536
MULTIPART = "multipart/form-data"
FORMS = ("application/x-www-form-urlencoded", MULTIPART)


class Limit(NamedTuple):
    middleware: RequestBodyLimitMiddleware
    message: str


class BodyLimit:
    """Middleware that refuses bodies beyond a limit. Uploads and forms have limits of their own.

    Starlette's refuses when the body is read, or when the response starts: an endpoint that does
    not read it would have done its work by then. So a body whose Content-Length is too large is
    refused before the endpoint runs.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._bodies = self._limit("body", settings.max_body_bytes)
        # Parsing a form blocks the event loop, and the forms of this application are short.
        self._forms = self._limit("form", min(settings.max_body_bytes, MAX_FORM_BYTES))
        # Around the file there are the boundaries and other fields.
        self._uploads = self._limit("file", settings.max_upload_bytes, overhead=MAX_FORM_BYTES)
        self._upload_routes: UploadRoutes | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        length = header(scope, b"content-length")
        if is_bodiless(scope, length):
            return self.app(scope, receive, send)
        limit = self._limit_of(scope)
        scope["body_limit"] = limit.message
        scope["is_upload"] = limit is self._uploads
        if length.isdecimal() and int(length) > limit.middleware.max_body_size:
            return PlainTextResponse(limit.message, 413)(scope, receive, send)
        return limit.middleware(scope, receive, send)

    def _limit(self, subject: str, size: int, overhead: int = 0) -> Limit:
        message = f"The {subject} is too large: the limit is {size:,} bytes."
        return Limit(RequestBodyLimitMiddleware(self.app, size + overhead), message)

    def _limit_of(self, scope: Scope) -> Limit:
        content_type = header(scope, b"content-type").lower()
        if not content_type.startswith(FORMS):
            return self._bodies
        is_upload = content_type.startswith(MULTIPART) and self._is_of_upload_route(scope)
        return self._uploads if is_upload else self._forms

    def _is_of_upload_route(self, scope: Scope) -> bool:
        if self._upload_routes is None:  # All routes have been added when a request arrives.
            self._upload_routes = UploadRoutes(scope["app"].routes)
        return self._upload_routes.match(scope)


def is_bodiless(scope: Scope, length: str) -> bool:
    """Return whether the request has no body: HTTP/1 announces each body, later versions do not."""
    return (
        not length
        and scope.get("http_version", "2") < "2"
        and not header(scope, b"transfer-encoding")
    )
