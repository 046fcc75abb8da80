"""The middleware of the application, in pure ASGI: one BaseHTTPMiddleware costs more than all.

A middleware that only passes a request on, or changes what is sent, is a plain function that
returns the next one's awaitable. Each coroutine in between would be resumed whenever the request
waits for something.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.core.config import Settings
from app.core.http.middleware.body_limit import BodyLimit
from app.core.http.middleware.compression import Compression
from app.core.http.middleware.head import HeadAsGet
from app.core.http.middleware.paced_starts import PacedStarts
from app.core.http.middleware.plain_errors import PlainErrorsAsProblems
from app.core.http.middleware.rate_limit_fields import RateLimitFields
from app.core.http.middleware.request_context import RequestContext
from app.core.http.middleware.same_origin import SameOrigin
from app.core.http.middleware.trusted_hosts import TrustedHosts
from app.core.http.middleware.unexpected_errors import UnexpectedErrors
from app.core.security.policy_headers import PolicyHeaders

EXPOSED_HEADERS = [
    "Content-Disposition",
    "Content-Range",
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
    """Add the middleware. The last one added is the outermost."""
    app.add_middleware(SameOrigin, settings=settings)
    app.add_middleware(UnexpectedErrors)
    if settings.rate_limit_default:
        app.add_middleware(RateLimitFields)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Compression)
    app.add_middleware(TrustedHosts, allowed_hosts=settings.allowed_hosts)
    app.add_middleware(BodyLimit, settings=settings)
    # CORS is outside of the middleware that refuses requests, so that scripts can read the reason.
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(PacedStarts)
    app.add_middleware(PlainErrorsAsProblems)
    app.add_middleware(RequestContext)
    app.add_middleware(PolicyHeaders, settings=settings)
