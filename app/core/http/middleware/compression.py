"""Compression of large responses by gzip."""

from collections.abc import Awaitable

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.scope import header

GZIP_MINIMUM_BYTES = 1000
# The types that this site serves: add those of yours. Starlette's list is long, and is searched
# for each response.
ALREADY_COMPRESSED = ("font/woff2", "image/png", "text/event-stream")


class Compression:
    """Middleware that passes only large responses through Starlette's GZipMiddleware.

    That costs as much as all other middleware together, and most responses are small.
    """

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
        next_send = send

        async def send_or_compress(message: Message) -> None:
            nonlocal next_send
            if message["type"] == "http.response.start" and _is_worthwhile(message):
                await self._gzip(scope, receive, send)
                next_send = scope.pop("compress")
            await next_send(message)

        return self.app(scope, receive, send_or_compress)


async def _capture_send(scope: Scope, receive: Receive, send: Send) -> None:
    """Capture the `send` that compresses, as the application inside of GZipMiddleware."""
    scope["compress"] = send


def _is_worthwhile(start: Message) -> bool:
    """Return whether to compress: no small response, and no file whose parts can be requested."""
    length = header(start, b"content-length")
    is_small = length.isdecimal() and int(length) < GZIP_MINIMUM_BYTES
    return not is_small and not header(start, b"accept-ranges")
