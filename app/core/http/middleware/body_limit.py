"""A limit on the size of request bodies."""

from collections.abc import Awaitable

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.http.scope import header

MAX_FORM_BYTES = 65_536
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class BodyLimit:
    """Middleware that refuses bodies beyond the limit.

    Starlette's refuses when the body is read, or when the response starts: an endpoint that does
    not read it would have done its work by then. So a body whose Content-Length is too large is
    refused before the endpoint runs.
    """

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        self.app = app
        self._bodies = RequestBodyLimitMiddleware(app, max_body_size)
        # Parsing a form blocks the event loop, and the forms of this application are short.
        max_form_size = min(max_body_size, MAX_FORM_BYTES)
        self._forms = RequestBodyLimitMiddleware(app, max_form_size)
        self._body_limit = f"The body is too large: the limit is {max_body_size:,} bytes."
        self._form_limit = f"The form is too large: the limit is {max_form_size:,} bytes."

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        length = header(scope, b"content-length")
        if is_bodiless(scope, length):
            return self.app(scope, receive, send)
        is_form = header(scope, b"content-type").lower().startswith(FORMS)
        limited = self._forms if is_form else self._bodies
        scope["body_limit"] = self._form_limit if is_form else self._body_limit
        if length.isdecimal() and int(length) > limited.max_body_size:
            return PlainTextResponse(scope["body_limit"], 413)(scope, receive, send)
        return limited(scope, receive, send)


def is_bodiless(scope: Scope, length: str) -> bool:
    """Return whether the request has no body: HTTP/1 announces each body, later versions do not."""
    return (
        not length
        and scope.get("http_version", "2") < "2"
        and not header(scope, b"transfer-encoding")
    )
