"""Limits on attempts to guess."""

from limits import RateLimitItem, RateLimitItemPerHour

from app.core.security.rate_limit import RateLimiter, multiplied

# A code is one in a million. Twenty an hour find one with a chance of one in 700 each day.
CODES_PER_HOUR = 20


class Attempts:
    """Limits on attempts by network address, so that nobody guesses.

    The limit by account alone is far higher, so that nobody locks another user out.
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
        await self._limiter.hit("login-account", self._by_account, email_key)

    async def current_password(self, user_id: int) -> None:
        await self._limiter.hit("password", self._limit, str(user_id))

    async def challenge(self, network: str) -> None:
        await self._limiter.hit_network("code-address", self._by_address, network)

    async def code(self, user_id: int) -> None:
        """Count a code of the second factor, which is asked for after a right password only."""
        await self._limiter.hit("code", self._limit, str(user_id))
        await self._limiter.hit("code-hour", RateLimitItemPerHour(CODES_PER_HOUR), str(user_id))

    async def sign_up(self, network: str) -> None:
        await self._limiter.hit_network("sign-up", self._limit, network)

    async def mail(self, network: str, email_key: str) -> None:
        await self._limiter.hit_network("mail", self._limit, network)
        await self._limiter.hit("mail-account", self._by_account, email_key)

    async def mail_token(self, network: str) -> None:
        await self._limiter.hit_network("mail-token", self._by_address, network)
