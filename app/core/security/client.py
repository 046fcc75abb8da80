"""Who is at the other end, by address."""

from ipaddress import IPv6Address, ip_address

from starlette.requests import HTTPConnection

UNKNOWN = "unknown"
SUBSCRIBER_PREFIX = 64


def client_address(connection: HTTPConnection) -> str:
    """The peer's, or what a proxy says of it that FORWARDED_ALLOW_IPS names.

    uvicorn has decided that, and put the one or the other into the scope.
    """
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host.partition("%")[0])  # without the zone: it can be any text
    except ValueError:  # a Unix socket has none, and a proxy may send anything
        return UNKNOWN
    # A socket for both families shows an IPv4 client as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def client_network(connection: HTTPConnection) -> str:
    """What to limit by: whoever has one IPv6 address has all of its /64."""
    host = client_address(connection)
    if ":" not in host:
        return host
    bits = int(IPv6Address(host)) >> SUBSCRIBER_PREFIX << SUBSCRIBER_PREFIX
    return f"{IPv6Address(bits)}/{SUBSCRIBER_PREFIX}"
