"""The RateLimit header fields of every response."""

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RateLimitFields:
    """Middleware that adds the status of the rate limit to every response, errors included."""

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
                    headers.append(name, value)  # A 429 of another policy has its own fields.
            await send(message)

        return self.app(scope, receive, send_with_fields)
