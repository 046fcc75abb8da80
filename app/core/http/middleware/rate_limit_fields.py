"""Where a client stands in its rate limit, on each answer."""

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
