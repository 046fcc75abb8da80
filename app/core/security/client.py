"""The network address of a client, by which requests are limited and logged."""

from ipaddress import IPv6Address, ip_address

from starlette.requests import HTTPConnection

UNKNOWN = "unknown"
SUBSCRIBER_PREFIX = 64


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
    bits = int(IPv6Address(host)) >> SUBSCRIBER_PREFIX << SUBSCRIBER_PREFIX
    return f"{IPv6Address(bits)}/{SUBSCRIBER_PREFIX}"
