"""API keys, by which programs act for a user without a password."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from limits import RateLimitItem

from app.accounts.models import ApiKey, EventKind
from app.accounts.repository import Accounts
from app.accounts.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from app.accounts.scopes import key_scopes
from app.accounts.service.passwords import AccountPasswords, lock_checked
from app.accounts.session_cache import SessionCache, cache_key
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from app.core.security.principal import Principal
from app.core.security.rate_limit import RateLimiter
from app.core.security.tokens import digest
from app.core.translation import current_language

KEY_PREFIX = "app_"
SECRET_BYTES = 32
KEY_CHARACTERS = len(KEY_PREFIX) + len(secrets.token_urlsafe(SECRET_BYTES))
SHOWN_CHARACTERS = 10  # by which an owner recognizes a key; 220 random bits are left
TOUCH_AFTER = timedelta(hours=1)
MAX_KEYS_OF_A_USER = 50


class ApiKeyService:
    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: AccountPasswords,
        cache: SessionCache,
        limiter: RateLimiter,
        limit: RateLimitItem | None,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._cache = cache
        self._limiter = limiter
        self._limit = limit

    async def authenticate(self, key: str) -> Principal:
        """Return the principal of a key; raise Unauthenticated when it is not valid."""
        cached = cache_key("key", key)
        principal = self._cache.get(cached) or await self._look_up(key, cached)
        if self._limit:
            await self._limiter.hit("api-key", self._limit, str(principal.session_id))
        return principal

    async def list(self, principal: Principal) -> Sequence[ApiKeyRead]:
        async with self._accounts.reading() as accounts:
            keys = await accounts.api_keys.list(principal.user_id)
        return [ApiKeyRead.model_validate(key) for key in keys]

    async def create(self, principal: Principal, data: ApiKeyCreate) -> ApiKeyCreated:
        """Create a key. Only its hash is stored, so that nobody can read it later.

        Raise Forbidden when the current password is wrong: a stolen access token must not become a
        key, which is valid for longer.
        """
        seen = await self._passwords.check(principal.user_id, data.current_password)
        key = KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        async with self._accounts.transaction() as accounts:
            user = await lock_checked(accounts, principal, seen)
            allowed = principal.scopes & key_scopes(user.is_superuser)
            if excess := set(data.scopes) - allowed:
                names = " ".join(sorted(excess))
                raise Invalid(
                    "A key cannot have these scopes: {names}.", "body", "scopes", names=names
                )
            if await accounts.api_keys.count_of(user.id) >= MAX_KEYS_OF_A_USER:
                raise Conflict(
                    "There are {count} keys. Revoke one of them first.", count=MAX_KEYS_OF_A_USER
                )
            api_key = ApiKey(
                user_id=user.id,
                name=data.name,
                prefix=key[:SHOWN_CHARACTERS],
                key_hash=digest(key),
                scope=" ".join(sorted({*data.scopes})),
                expires_at=utc_now() + timedelta(days=data.expires_in_days),
            )
            await accounts.api_keys.add(api_key)
            accounts.security_events.record(
                EventKind.API_KEY_CREATED, user.id, session_id=api_key.id
            )
            await accounts.jobs.enqueue(
                "send_notice", "api_key_created", user.email, current_language().tag
            )
        read = ApiKeyRead.model_validate(api_key)
        return ApiKeyCreated(**read.model_dump(), key=key)

    async def revoke(self, principal: Principal, key_id: UUID) -> None:
        async with self._accounts.transaction() as accounts:
            if not await accounts.api_keys.revoke(key_id, principal.user_id):
                raise NotFound(f"API Key Not Found (id: {key_id})")

    async def _look_up(self, key: str, cached: bytes) -> Principal:
        change_count, found = self._cache.change_count, None
        if len(key) == KEY_CHARACTERS:
            async with self._accounts.reading() as accounts:
                found = await accounts.api_keys.get_valid(digest(key))
        if found is None:
            raise Unauthenticated("The API key is invalid, has expired or is revoked.")
        api_key, is_superuser = found
        # Its scopes say what it may do, so that it is no superuser, even if its owner is.
        scopes = frozenset(api_key.scopes) & key_scopes(is_superuser)
        principal = Principal(
            api_key.user_id, api_key.id, scopes, is_superuser=False, is_api_key=True
        )
        touch_at = api_key.last_used_at and api_key.last_used_at + TOUCH_AFTER
        if touch_at is None or utc_now() > touch_at:
            with suppress(Unavailable):  # the key can be used while nothing can be written
                await self._touch(api_key)
        else:  # until its use has to be noted again
            until = min(api_key.expires_at, touch_at).timestamp()
            self._cache.put(change_count, cached, principal, until)
        return principal

    async def _touch(self, seen: ApiKey) -> None:
        """Note that a key is used. Of several requests at once, one does."""
        async with self._accounts.transaction() as accounts:
            is_noted = await accounts.api_keys.touch(seen.id, seen.last_used_at)
            if is_noted and seen.last_used_at is None:
                accounts.security_events.record(
                    EventKind.API_KEY_FIRST_USED, seen.user_id, by=seen.user_id, session_id=seen.id
                )
