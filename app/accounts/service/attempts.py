"""Limits on attempts to guess."""

from limits import RateLimitItem

from app.core.security.rate_limit import RateLimiter, multiplied


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

    async def sign_up(self, network: str) -> None:
        await self._limiter.hit_network("sign-up", self._limit, network)

    async def mail(self, network: str, email_key: str) -> None:
        await self._limiter.hit_network("mail", self._limit, network)
        await self._limiter.hit("mail-account", self._by_account, email_key)

    async def mail_token(self, network: str) -> None:
        await self._limiter.hit_network("mail-token", self._by_address, network)
