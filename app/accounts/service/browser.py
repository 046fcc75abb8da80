"""Sign-in of browsers, by a cookie.

It holds one secret for as long as its session, since tokens that change at each use would race
between two tabs. Otherwise its session is like those of the API.
"""

import secrets
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from app.accounts.models import User
from app.accounts.repository import Accounts
from app.accounts.schemas import (
    ClientInfo,
    SecondFactorSignIn,
    SignIn,
)
from app.accounts.scopes import allowed_scopes
from app.accounts.service.auth import AuthService, Prove
from app.accounts.service.devices import Devices
from app.accounts.service.second_factor import SecondFactorService
from app.accounts.session_cache import SessionCache, cache_key
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Unavailable
from app.core.security.principal import Principal, Profile
from app.core.security.tokens import digest


class SignedIn(NamedTuple):
    """The cookies of a browser: one for the session, and one by which it is recognized later."""

    cookie: str
    device: str


class BrowserService:
    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        auth: AuthService,
        second_factors: SecondFactorService,
        devices: Devices,
        cache: SessionCache,
        *,
        touch_after: timedelta,
    ) -> None:
        self._accounts = accounts
        self._auth = auth
        self._second_factors = second_factors
        self._devices = devices
        self._cache = cache
        self._touch_after = touch_after

    async def sign_in(self, data: SignIn, client: ClientInfo, previous: str | None) -> SignedIn:
        """Return a new cookie, so that one that was planted is worthless.

        The session of the previous cookie ends. Raise SecondFactorRequired for a user who has one.
        """
        password = data.password.get_secret_value()
        open_session = partial(self._open_session, client, previous)
        return await self._auth.sign_in(data.email, password, None, client, open_session)

    async def complete_sign_in(
        self, data: SecondFactorSignIn, client: ClientInfo, previous: str | None
    ) -> SignedIn:
        """Return a new cookie, as `sign_in` does, after the code of the second factor."""
        open_session = partial(self._open_session, client, previous)
        return await self._auth.complete_sign_in(data, client, open_session)

    async def sign_in_as(
        self,
        user_id: int,
        prove: Prove,
        client: ClientInfo,
        previous: str | None,
        *,
        is_complete: bool,
        is_recent: bool,
    ) -> SignedIn:
        """Return a new cookie, as `sign_in` does, for a user who has proved who they are.

        Without `is_recent`, the proof may be of an old session elsewhere, in a browser that was
        left open: sensitive actions ask for another one.
        """
        open_session = partial(self._open_session, client, previous, is_confirmed=is_recent)
        return await self._auth.sign_in_as(
            user_id, prove, client, open_session, is_complete=is_complete
        )

    async def complete_sign_in_as(
        self, challenge: str, prove: Prove, client: ClientInfo, previous: str | None
    ) -> SignedIn:
        """Return a new cookie, as `sign_in` does, after another second factor than a code."""
        open_session = partial(self._open_session, client, previous)
        return await self._auth.complete_sign_in_as(challenge, prove, open_session)

    async def authenticate(self, cookie: str) -> Principal | None:
        principal = await self._look_up(cookie)
        return principal and await self._second_factors.restrict(principal)

    async def _look_up(self, cookie: str) -> Principal | None:
        key = cache_key("cookie", cookie)
        if principal := self._cache.get(key):
            return principal
        change_count = self._cache.change_count
        async with self._accounts.reading() as accounts:
            owned = await accounts.sessions.get_by_cookie(digest(cookie))
        if owned is None:
            return None
        session, user = owned
        profile = Profile(user.email, user.full_name, user.is_verified, user.picture_key)
        scopes = allowed_scopes(user.is_superuser)
        principal = Principal(user.id, session.id, scopes, user.is_superuser, profile)
        touch_at = session.last_used_at + self._touch_after
        if utc_now() > touch_at:
            with suppress(Unavailable):  # a page can be read while nothing can be written
                await self._touch(session.id)
        else:  # until it has to be touched again
            until = min(session.expires_at, touch_at).timestamp()
            self._cache.put(change_count, key, principal, until)
        return principal

    async def _touch(self, session_id: UUID) -> None:
        async with self._accounts.transaction() as accounts:
            if session := await accounts.sessions.lock(session_id):
                self._auth.touch(session)

    async def sign_out(self, cookie: str) -> None:
        async with self._accounts.transaction() as accounts:
            await accounts.sessions.end_by_cookie(digest(cookie))

    async def _open_session(
        self,
        client: ClientInfo,
        previous: str | None,
        accounts: Accounts,
        user: User,
        scopes: frozenset[str],
        by_factor: bool,
        *,
        is_confirmed: bool = True,
    ) -> SignedIn:
        cookie = secrets.token_urlsafe(32)
        session = self._auth.new_session(user, scopes, client, by_factor=by_factor)
        if not is_confirmed:
            session.confirmed_at = session.factor_confirmed_at = None
        session.cookie_hash = digest(cookie)
        if previous:
            await accounts.sessions.end_by_cookie(digest(previous))
        await self._auth.add_session(accounts, session)
        await accounts.sessions.clean_up()
        return SignedIn(cookie, self._devices.issue(user))
