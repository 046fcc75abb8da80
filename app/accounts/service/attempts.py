"""Limits on attempts to guess."""

from contextlib import suppress

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from app.core.errors import TooManyRequests
from app.core.security.rate_limit import RateLimiter, multiplied

# A code is one in a million. Twenty an hour find one with a chance of one in 700 each day.
CODES_PER_HOUR = 20
# The wait grows with the failures. OWASP ASVS 4.0.3 (2.2.1) allows up to 100 an hour.
FAILURES_PER_HOUR = 100
FAILURES = (
    RateLimitItemPerMinute(20),
    RateLimitItemPerMinute(50, 10),
    RateLimitItemPerHour(FAILURES_PER_HOUR),
)


class Attempts:
    """Limits on attempts by network address and by account, so that nobody guesses.

    A device of the user has a count of its own, so that others do not lock the user out there.
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

    async def check_failures(self, email_key: str, device: str) -> None:
        """Raise TooManyRequests if too many passwords of an account were wrong."""
        for limit in FAILURES:
            await self._limiter.check("login-failures", limit, email_key, device)

    async def count_failure(self, email_key: str, device: str) -> None:
        for limit in FAILURES:
            with suppress(TooManyRequests):  # Others were checked at the same time.
                await self._limiter.hit("login-failures", limit, email_key, device)

    async def current_password(self, user_id: int) -> None:
        await self._limiter.hit("password", self._limit, str(user_id))

    async def challenge(self, network: str) -> None:
        await self._limiter.hit_network("code-address", self._by_address, network)

    async def code(self, user_id: int, device: str) -> None:
        """Count a code of the second factor, which is asked for after a right password only."""
        key, limit = (str(user_id), device), RateLimitItemPerHour(CODES_PER_HOUR)
        await self._limiter.hit("code", self._limit, *key)
        await self._limiter.hit("code-hour", limit, *key)

    async def sign_up(self, network: str) -> None:
        await self._limiter.hit_network("sign-up", self._limit, network)

    async def mail(self, network: str, email_key: str) -> None:
        await self._limiter.hit_network("mail", self._limit, network)
        await self._limiter.hit("mail-account", self._by_account, email_key)

    async def mail_token(self, network: str) -> None:
        await self._limiter.hit_network("mail-token", self._by_address, network)
