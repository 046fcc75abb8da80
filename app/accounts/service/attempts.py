"""Limits on attempts to guess passwords and codes."""

from collections.abc import Iterator
from contextlib import suppress

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from app.core.errors import TooManyRequests
from app.core.security.client import site_of
from app.core.security.rate_limit import RateLimiter, multiplied

# A code is one in a million, and three are valid at a time. Twenty an hour find one with a chance
# of one in 700 each day. Known devices, strangers and open sessions each have a count.
CODES_PER_HOUR = 20
CURRENT_PASSWORDS_PER_HOUR = 100
# The wait grows with the failures. OWASP ASVS 4.0.3 (2.2.1) allows up to 100 an hour.
FAILURES_PER_HOUR = 100
# Of one network or IPv6 site, so that it cannot use up the failures of an account.
NETWORK_FAILURES_PER_HOUR = 20
FAILURES = (
    RateLimitItemPerMinute(20),
    RateLimitItemPerMinute(50, 10),
    RateLimitItemPerHour(FAILURES_PER_HOUR),
)


class Attempts:
    """Limits attempts to guess, by network address and by account.

    The devices of the user have a count of their own, so that others do not lock the user out
    there.
    """

    BY_ADDRESS = 10
    BY_ACCOUNT = 100

    def __init__(self, limiter: RateLimiter, limit: RateLimitItem) -> None:
        self._limiter = limiter
        self._limit = limit
        self._by_address = multiplied(limit, self.BY_ADDRESS)
        self._by_account = multiplied(limit, self.BY_ACCOUNT)

    async def sign_in(self, network: str, email_key: str) -> None:
        # First by address alone: what is refused there is not remembered for each account too.
        await self._limiter.hit_network("login-address", self._by_address, network)
        await self._limiter.hit_network("login", self._limit, network, email_key)

    async def check_failures(self, network: str, email_key: str, *, is_known: bool) -> None:
        """Raise TooManyRequests if too many passwords of an account were wrong."""
        for policy, limit, key in failure_counts(network, email_key, is_known):
            await self._limiter.check(policy, limit, *key)

    async def count_failure(self, network: str, email_key: str, *, is_known: bool) -> None:
        for policy, limit, key in failure_counts(network, email_key, is_known):
            with suppress(TooManyRequests):  # Others were checked at the same time.
                await self._limiter.hit(policy, limit, *key)

    async def provider(self, network: str) -> None:
        """Count a sign-in at a provider, for which this site sends requests to the provider."""
        await self._limiter.hit_network("provider", self._by_address, network)

    async def current_password(self, user_id: int) -> None:
        limit = RateLimitItemPerHour(CURRENT_PASSWORDS_PER_HOUR)
        await self._limiter.hit("password", self._limit, str(user_id))
        await self._limiter.hit("password-hour", limit, str(user_id))

    async def challenge(self, network: str) -> None:
        await self._limiter.hit_network("code-address", self._by_address, network)

    async def code(self, user_id: int, source: str) -> None:
        """Count a code of the second factor, which is asked for after a right password only."""
        key, limit = (str(user_id), source), RateLimitItemPerHour(CODES_PER_HOUR)
        await self._limiter.hit("code", self._limit, *key)
        await self._limiter.hit("code-hour", limit, *key)

    async def sign_up(self, network: str) -> None:
        await self._limiter.hit_network("sign-up", self._limit, network)

    async def mail(self, network: str, email_key: str) -> None:
        await self._limiter.hit_network("mail", self._limit, network)
        await self._limiter.hit("mail-account", self._by_account, email_key)

    async def mail_token(self, network: str) -> None:
        await self._limiter.hit_network("mail-token", self._by_address, network)


def failure_counts(
    network: str, email_key: str, is_known: bool
) -> Iterator[tuple[str, RateLimitItem, tuple[str, ...]]]:
    """Yield the policies by which a wrong password is counted, with their limits and keys."""
    key = (email_key, source_of(is_known))
    by_network = RateLimitItemPerHour(NETWORK_FAILURES_PER_HOUR)
    yield "login-failures-network", by_network, (site_of(network) or network, *key)
    for limit in FAILURES:
        yield "login-failures", limit, key


def source_of(is_known: bool) -> str:
    """Return what the attempts of an account are counted by: all known devices are one source."""
    return "known" if is_known else ""
