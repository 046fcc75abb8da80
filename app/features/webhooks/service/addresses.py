"""Which addresses a request may be sent to: a webhook must not reach into the server's own network.

A name is looked up once for each connection, its addresses are checked, and the connection is made
to one of those that passed. A name that has another address a moment later gains nothing.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from anyio import to_thread
from dns.exception import DNSException

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

Address = IPv4Address | IPv6Address

DNS_SECONDS = 5
LOOPBACK = ("127.0.0.1", "::1")
# Networks that Python takes for public, and that lead to IPv4 addresses of any kind.
TUNNELS = [ip_network("2002::/16"), ip_network("192.88.99.0/24")]


class UnknownHost(OSError):
    """A name has no address, or cannot be looked up."""


class ForbiddenAddress(OSError):
    """A host has no public address."""


class AddressRules:
    """Finds the addresses of a host, without those that are not public.

    `allowed` has networks that are accepted nevertheless, such as the developer's own machine.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [ip_network(each) for each in allowed]

    async def addresses_of(self, host: str) -> Sequence[Address]:
        """Return the addresses that are allowed. Raise UnknownHost, or ForbiddenAddress."""
        found = [ip_address(each) for each in literal_or_local(host) or await look_up(host)]
        allowed = [*filter(self.is_allowed, found)]
        if not allowed:
            raise ForbiddenAddress
        return allowed

    def is_allowed(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return is_public(address) or any(address in network for network in self._allowed)


def is_public(address: Address) -> bool:
    """Return whether anybody can reach the address, so that the server adds no reach."""
    is_special = address.is_multicast or address.is_reserved
    is_local = isinstance(address, IPv6Address) and address.is_site_local
    is_tunnel = any(address in network for network in TUNNELS)
    return address.is_global and not (is_special or is_local or is_tunnel)


def literal_or_local(host: str) -> Sequence[str]:
    """Return the address that a host is, or those of `localhost`; nothing for other names."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return LOOPBACK
    try:
        return [str(ip_address(name))]
    except ValueError:
        return []


async def look_up(name: str) -> Sequence[str]:
    """Look a name up, without a thread: a slow name server holds up nothing else."""
    try:
        resolver = await to_thread.run_sync(_resolver)
        answers = await resolver.resolve_name(name, lifetime=DNS_SECONDS)
    except (DNSException, OSError, ValueError) as error:  # such as a name that is too long
        raise UnknownHost from error
    return [*answers.addresses()]


@cache
def _resolver() -> "Resolver":
    from dns.asyncresolver import Resolver  # Every process would start a tenth later with it.

    return Resolver()  # It reads /etc/resolv.conf.
