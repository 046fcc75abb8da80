"""gzip for what is large enough."""

from collections.abc import Awaitable

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.scope import header

GZIP_MINIMUM_BYTES = 1000
# Of what this site serves: add what yours does. Starlette's list is long, and read at each request.
ALREADY_COMPRESSED = ("font/woff2", "image/png", "text/event-stream")


class Compression:
    """Most answers say that they are too small for it, and go around Starlette's, which costs as
    much as all else that is here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._gzip = GZipMiddleware(
            _capture_send,
            minimum_size=GZIP_MINIMUM_BYTES,
            compresslevel=5,
            exclude_content_types=ALREADY_COMPRESSED,
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


async def _capture_send(scope: Scope, receive: Receive, send: Send) -> None:
    """In the place of an application: what is sent by this is compressed."""
    scope["compress"] = send


def _is_small(start: Message) -> bool:
    length = header(start, b"content-length")
    return length.isdecimal() and int(length) < GZIP_MINIMUM_BYTES
