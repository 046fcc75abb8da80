"""Protection against cross-site request forgery."""

from collections.abc import Awaitable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from app.core.context import route_path
from app.core.http.problem_kinds import KINDS
from app.core.http.problems import ProblemResponse
from app.core.security.origin import has_own_origin

API_PREFIX = "/api/v1/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class SameOrigin:
    """Middleware that accepts unsafe methods only from pages of this site.

    Browsers name the origin in Sec-Fetch-Site, which scripts cannot set. Over plain HTTP, on hosts
    other than localhost, they send only Origin. The API is exempt, since it accepts no cookies.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_safe = scope["type"] != "http" or scope["method"] in SAFE_METHODS
        if is_safe or route_path(scope).startswith(API_PREFIX) or self._is_same_origin(scope):
            return self.app(scope, receive, send)
        detail = "The form was sent from another site. Open the page on this site and try again."
        return ProblemResponse(scope, KINDS["cross-site-request"], detail)(scope, receive, send)

    def _is_same_origin(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if site := headers.get("sec-fetch-site"):
            # A page whose address is a secret sends no referrer, and "null" for its origin.
            is_hidden = headers.get("origin", "null") == "null"
            return site == "same-origin" and (
                is_hidden or not self._settings.is_https or has_own_origin(scope, self._settings)
            )
        return has_own_origin(scope, self._settings)
