"""What goes around the application. Pure ASGI: one BaseHTTPMiddleware costs more than all this.

What only passes a request on, or changes what is sent, returns what the next one returns: each
coroutine in between would be stepped through whenever the request waits for something.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.core.config import Settings
from app.core.http.middleware.body_limit import BodyLimit
from app.core.http.middleware.compression import Compression
from app.core.http.middleware.head import HeadAsGet
from app.core.http.middleware.plain_errors import PlainErrorsAsProblems
from app.core.http.middleware.rate_limit_fields import RateLimitFields
from app.core.http.middleware.request_context import RequestContext
from app.core.http.middleware.trusted_hosts import TrustedHosts
from app.core.http.middleware.unexpected_errors import UnexpectedErrors
from app.core.security.policy_headers import PolicyHeaders

EXPOSED_HEADERS = [
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
]


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(UnexpectedErrors)
    if settings.rate_limit_default:
        app.add_middleware(RateLimitFields)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Compression)
    app.add_middleware(TrustedHosts, allowed_hosts=settings.allowed_hosts)
    app.add_middleware(BodyLimit, max_body_size=settings.max_body_bytes)
    if settings.cors_origins:  # outside of what refuses: a script may read why
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(PlainErrorsAsProblems)
    app.add_middleware(RequestContext)
    app.add_middleware(PolicyHeaders, settings=settings)
