"""Response headers that restrict what a browser may do with a response."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import Settings
from app.core.context import route_path

API = "/api/"
HSTS_SECONDS = 365 * 24 * 3600
RawHeaders = list[tuple[bytes, bytes]]
NO_STORE = [(b"cache-control", b"no-store")]  # For the responses to one user.


def content_security_policy(**changes: str) -> str:
    """Return a policy that forbids other hosts, inline code and frames, with the given changes.

    A path that needs an exception sends a policy of its own: see `app.core.http.docs`.
    """
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
    """Middleware that adds the policy headers to every response.

    A page may set its own value for any of them. Responses of the API always get the same few
    headers, since looking for others would cost time in each request.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        shared = {
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",  # It does not bind CORS requests.
        }
        if settings.environment != "local" and settings.is_https:
            shared["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
        api = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        pages = {
            "Content-Security-Policy": content_security_policy(),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        }
        self._api = _encode(shared | api)
        self._pages = _encode(shared | pages)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        is_api = route_path(scope).startswith(API)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                policy = self._api if is_api else missing_from(given, self._pages)
                if "principal" in scope:
                    policy = [*policy, *missing_from(given, NO_STORE)]
                message["headers"] = [*given, *policy]
            await send(message)

        return self.app(scope, receive, send_with_policy)


def missing_from(headers: RawHeaders, fields: RawHeaders) -> RawHeaders:
    names = {name for name, _ in headers}
    return [field for field in fields if field[0] not in names]


def _encode(headers: dict[str, str]) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
