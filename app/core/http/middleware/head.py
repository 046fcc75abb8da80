"""HEAD for every GET."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _HeadersSent(Exception):
    """Ends what would go on to make a body."""


class HeadAsGet:
    """HEAD answers wherever GET does, with its headers."""

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

        inner = {**scope, "method": "GET"}  # the server looks at its own scope: it sends no body
        try:
            await self.app(inner, receive, send_headers)
        except* _HeadersSent:  # a stream of events has a group of tasks around it
            pass
        scope.update(inner, method="HEAD")  # what the log wants to know of the route
