"""Problem documents in the place of errors in plain text."""

from collections.abc import Awaitable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.problems import general_problem

RESPONSE_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class PlainErrorsAsProblems:
    """Middleware that turns plain text errors of Starlette's middleware into problem documents.

    Those are for example the 413 and the 400 for an invalid host. Clients get one format.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        start: Message | None = None
        text = b""

        async def send_problem(message: Message) -> None:
            nonlocal start, text
            if message["type"] in RESPONSE_STARTS and _is_plain_error(message):
                start = message
            elif start is None:
                await send(message)
            else:
                text += message.get("body", b"")
                if not message.get("more_body"):
                    headers = MutableHeaders(scope=start)
                    del headers["content-length"], headers["content-type"]
                    problem = general_problem(scope, start["status"], text.decode(), headers)
                    await problem(scope, receive, send)

        return self.app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    if start.get("status", 101) < 400:
        return False
    return Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain")
