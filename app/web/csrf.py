"""Cross-site request forgery: who may change something in the name of a browser's cookie."""

from collections.abc import Awaitable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from app.core.context import route_path
from app.core.http.problem_kinds import KINDS
from app.core.http.problems import ProblemResponse

COOKIELESS = "/api/v1/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class SameOrigin:
    """One rule for every page, the admin's too: what is not safe comes from a page of this site.

    Browsers say so in Sec-Fetch-Site, which no script can set. Over plain HTTP, on another name
    than localhost, they send Origin alone. The API takes no cookie, and so has nothing to fear.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_safe = scope["type"] != "http" or scope["method"] in SAFE_METHODS
        if is_safe or route_path(scope).startswith(COOKIELESS) or self._is_from_here(scope):
            return self.app(scope, receive, send)
        detail = "The form was sent from another site. Open the page on this site and try again."
        return ProblemResponse(scope, KINDS["cross-site-request"], detail)(scope, receive, send)

    def _is_from_here(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if site := headers.get("sec-fetch-site"):
            return site == "same-origin"
        return has_own_origin(scope, self._settings)


def has_own_origin(scope: Scope, settings: Settings) -> bool:
    """Browsers send Origin with each WebSocket's handshake, and let anybody's page begin one."""
    headers, public = Headers(scope=scope), urlsplit(settings.public_url)
    # A proxy that ends TLS may pass on its own scheme or host: then it is the public one.
    scheme = scope["scheme"].replace("ws", "http")
    here = f"{scheme}://{headers.get('host', '').lower()}"
    return headers.get("origin") in (here, f"{public.scheme}://{public.netloc.lower()}")
