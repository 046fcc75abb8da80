"""The network address of a client, by which requests are limited and logged."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from starlette.requests import HTTPConnection

from app.core.context import scope_var
from app.core.security.principal import Principal

UNKNOWN = "unknown"
SUBSCRIBER_PREFIX = 64
SITE_PREFIX = 48
MAX_USER_AGENT = 255


class RequestOrigin(NamedTuple):
    """Where the current request comes from. Everything is None outside of a request."""

    principal: Principal | None = None
    address: str | None = None
    network: str | None = None
    user_agent: str | None = None


def request_origin() -> RequestOrigin:
    scope = scope_var.get()
    if scope is None:
        return RequestOrigin()
    connection = HTTPConnection(scope)
    return RequestOrigin(
        scope.get("principal"),
        client_address(connection),
        client_network(connection),
        client_user_agent(connection),
    )


def client_user_agent(connection: HTTPConnection) -> str | None:
    return connection.headers.get("User-Agent", "")[:MAX_USER_AGENT] or None


def client_address(connection: HTTPConnection) -> str:
    """Return the client's IP address, or "unknown".

    uvicorn has put it into the scope: the address of the peer or, if that is a proxy listed in
    FORWARDED_ALLOW_IPS, the address that the proxy forwards.
    """
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host.partition("%")[0])  # without the zone, which can be any text
    except ValueError:  # A Unix socket has no address, and a proxy may send any text.
        return UNKNOWN
    # A dual-stack socket reports an IPv4 client as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def client_network(connection: HTTPConnection) -> str:
    """Return the network to limit requests by: an IPv6 client controls its whole /64."""
    host = client_address(connection)
    if ":" not in host:
        return host
    return str(IPv6Network((host, SUBSCRIBER_PREFIX), strict=False))


def site_of(network: str) -> str | None:
    """Return the IPv6 site of a network: providers give some clients a whole /48."""
    if ":" not in network:
        return None
    return str(IPv6Network(network).supernet(new_prefix=SITE_PREFIX))
