"""HEAD requests, which are run as GET without sending a body."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _HeadersSent(Exception):
    """Stops the application from generating the rest of the body."""


class HeadAsGet:
    """Middleware that answers HEAD with the headers of GET, on every path that has GET."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        return (self._send_headers_only if is_head else self.app)(scope, receive, send)

    async def _send_headers_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_headers(message: Message) -> None:
            if message["type"] != "http.response.body":
                return await send(message)
            await send({"type": "http.response.body", "body": b""})
            if message.get("more_body"):
                raise _HeadersSent

        inner = {**scope, "method": "GET"}  # The server's own scope keeps HEAD: it sends no body.
        try:
            await self.app(inner, receive, send_headers)
        except* _HeadersSent:  # A streaming response raises it in a task group.
            pass
        scope.update(inner, method="HEAD")  # The access log reads the route.
