"""The rate limit that applies to all operations (RATE_LIMIT_DEFAULT)."""

from starlette.requests import HTTPConnection

from app.core.http.problems import rate_limit_fields
from app.core.resources import resources_of
from app.core.security.client import client_network
from app.core.security.rate_limit import RateLimiterDep


async def limit_by_address(connection: HTTPConnection, limiter: RateLimiterDep) -> None:
    """Count the request, and note the status of the limit for the RateLimitFields middleware."""
    limit = resources_of(connection).settings.rate_limit_default
    assert limit  # noqa: S101 - for mypy: the dependency is only used if the limit is set
    network = client_network(connection)
    await limiter.hit_network("default", limit, network)
    if connection.scope["type"] == "http":
        status = await limiter.status("default", limit, network)
        fields = rate_limit_fields("default", limit.amount, limit.get_expiry(), *status)
        connection.scope["rate_limit_fields"].update(fields)
