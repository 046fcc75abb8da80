"""Protection against cross-site request forgery."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from app.core.context import route_path
from app.core.http.problem_kinds import KINDS
from app.core.http.problems import ProblemResponse
from app.core.security.origin import is_same_origin

API_PREFIX = "/api/v1/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class SameOrigin:
    """Middleware that accepts unsafe methods only from pages of this site.

    The API is exempt: `app.accounts.dependencies.get_principal` checks this itself where it
    accepts a cookie.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_safe = scope["type"] != "http" or scope["method"] in SAFE_METHODS
        if (
            is_safe
            or route_path(scope).startswith(API_PREFIX)
            or is_same_origin(scope, self._settings)
        ):
            return self.app(scope, receive, send)
        detail = "The form was sent from another site. Open the page on this site and try again."
        return ProblemResponse(scope, KINDS["cross-site-request"], detail)(scope, receive, send)
