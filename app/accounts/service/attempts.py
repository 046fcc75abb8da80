"""How often one may try what could be guessed."""

from limits import RateLimitItem

from app.core.security.rate_limit import RateLimiter


class Attempts:
    """Limits on attempts by network address, so that nobody guesses.

    The limit by account alone is far higher, so that nobody locks another user out.
    """

    BY_ADDRESS = 10
    BY_ACCOUNT = 100

    def __init__(self, limiter: RateLimiter, limit: RateLimitItem) -> None:
        self._limiter = limiter
        self._limit = limit
        self._by_address = self._times(self.BY_ADDRESS)
        self._by_account = self._times(self.BY_ACCOUNT)

    async def sign_in(self, network: str, email_key: str) -> None:
        # First by address alone: what is refused there is not remembered for each account too.
        await self._limiter.hit("login-address", self._by_address, network)
        await self._limiter.hit("login", self._limit, network, email_key)
        await self._limiter.hit("login-account", self._by_account, email_key)

    async def current_password(self, user_id: int) -> None:
        await self._limiter.hit("password", self._limit, str(user_id))

    async def sign_up(self, network: str) -> None:
        await self._limiter.hit("sign-up", self._limit, network)

    async def mail(self, network: str, email_key: str) -> None:
        await self._limiter.hit("mail", self._limit, network)
        await self._limiter.hit("mail-account", self._by_account, email_key)

    async def mail_token(self, network: str) -> None:
        await self._limiter.hit("mail-token", self._by_address, network)

    def _times(self, factor: int) -> RateLimitItem:
        return type(self._limit)(self._limit.amount * factor, self._limit.multiples)
