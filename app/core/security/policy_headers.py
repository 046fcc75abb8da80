"""What a browser may do with an answer."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import Settings

API = "/api/"
HSTS_SECONDS = 365 * 24 * 3600
RawHeaders = list[tuple[bytes, bytes]]


def content_security_policy(**changes: str) -> str:
    """Nothing from another host, nothing inline, in nobody's frame. Exceptions belong to the path
    that needs them: see `app.core.http.docs`."""
    directives = {
        "default_src": "'none'",
        "script_src": "'self'",
        "style_src": "'self'",
        "img_src": "'self'",
        "connect_src": "'self'",
        "form_action": "'self'",
        "base_uri": "'none'",
        "frame_ancestors": "'none'",
    }
    return "; ".join(f"{k.replace('_', '-')} {v}" for k, v in (directives | changes).items())


class PolicyHeaders:
    """A page may have its own in the place of one of these. The API's are few and always the same:
    they cost each of its answers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        shared = {"X-Content-Type-Options": "nosniff"}
        if settings.environment != "local" and settings.is_https:
            shared["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
        data = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        pages = {
            "Content-Security-Policy": content_security_policy(),
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        }
        self._data = _encode(shared | data)
        self._pages = _encode(shared | pages)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        is_data = scope["path"].startswith(API)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = self._data if is_data else self._without(message["headers"])
                message["headers"] = [*message["headers"], *policy]
            await send(message)

        return self.app(scope, receive, send_with_policy)

    def _without(self, headers: RawHeaders) -> RawHeaders:
        given = {name for name, _ in headers}
        return [field for field in self._pages if field[0] not in given]


def _encode(headers: dict[str, str]) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
