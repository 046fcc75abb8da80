"""A check of the Host header against ALLOWED_HOSTS."""

import re
from collections.abc import Awaitable, Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.context import is_health_check
from app.core.http.scope import header

PLAIN_NAME = re.compile(r"[a-z0-9.-]+")


class TrustedHosts:
    """Middleware that refuses other hosts.

    Health probes send an IP address as the host, so their paths are exempt. Plain names are
    compared here; Starlette's middleware, which matches patterns, costs more.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self.app = app
        self._names = {name for name in allowed_hosts if PLAIN_NAME.fullmatch(name)}
        self._patterns = TrustedHostMiddleware(app, allowed_hosts, www_redirect=False)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        kind = scope["type"]
        if kind == "lifespan" or (kind == "http" and is_health_check(scope)):
            return self.app(scope, receive, send)
        host = header(scope, b"host")
        name, _, port = host.rpartition(":")
        is_known = host in self._names or (name in self._names and port.isdecimal())
        return (self.app if is_known else self._patterns)(scope, receive, send)
