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

from app.accounts.models import EventKind, User
from app.accounts.repository import Accounts
from app.accounts.schemas import (
    ClientInfo,
    CodeConfirmation,
    PasswordConfirmation,
    SecondFactorSignIn,
    SignIn,
)
from app.accounts.scopes import allowed_scopes
from app.accounts.service.auth import AuthService, Prove
from app.accounts.service.codes import SecondFactorCodes
from app.accounts.service.devices import Devices
from app.accounts.service.passwords import AccountPasswords, found, wrong_password
from app.accounts.service.second_factor import SecondFactorService
from app.accounts.session_cache import SessionCache, cache_key
from app.core.database.models import utc_now
from app.core.database.repository import UnitsOfWork
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
        passwords: AccountPasswords,
        codes: SecondFactorCodes,
        second_factors: SecondFactorService,
        devices: Devices,
        cache: SessionCache,
        *,
        touch_after: timedelta,
        confirmation_lifetime: timedelta,
    ) -> None:
        self._accounts = accounts
        self._auth = auth
        self._passwords = passwords
        self._codes = codes
        self._second_factors = second_factors
        self._devices = devices
        self._cache = cache
        self._touch_after = touch_after
        self._confirmation_lifetime = confirmation_lifetime

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
        mark = self._cache.mark()
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
            self._cache.put(mark, key, principal, until)
        return principal

    async def _touch(self, session_id: UUID) -> None:
        async with self._accounts.transaction() as accounts:
            if session := await accounts.sessions.lock(session_id):
                self._auth.touch(session)

    async def is_confirmed(self, principal: Principal) -> bool:
        """Return whether the password was entered recently enough for sensitive actions."""
        since = utc_now() - self._confirmation_lifetime
        async with self._accounts.reading() as accounts:
            return await accounts.sessions.is_confirmed(principal.session_id, since)

    async def confirm(self, principal: Principal, data: PasswordConfirmation) -> str:
        """Note that the user has entered the password, and return a new cookie.

        A copy of the old one is worthless then. Raise Forbidden when the password is wrong.
        """
        seen = await self._passwords.check(principal.user_id, data.current_password)
        async with self._accounts.transaction() as accounts:
            if await accounts.users.get_unchanged(seen) is None:  # a change was faster
                raise wrong_password()
            return await self._confirm(accounts, principal, EventKind.PASSWORD_CHECK)

    async def confirm_by_code(self, principal: Principal, data: CodeConfirmation) -> str:
        """Take a code of the second factor instead of the password, and return a new cookie."""
        await self._codes.check(principal.user_id, data.confirm_code)
        async with self._accounts.transaction() as accounts:
            return await self._confirm(accounts, principal, EventKind.SECOND_FACTOR_CHECK)

    async def confirm_as(self, principal: Principal, prove: Prove, kind: str) -> str:
        """Take another proof instead of the password, and return a new cookie."""
        async with self._accounts.transaction() as accounts:
            user = found(await accounts.users.lock(principal.user_id), principal.user_id)
            await prove(accounts, user)
            return await self._confirm(accounts, principal, kind)

    async def _confirm(self, accounts: Accounts, principal: Principal, kind: str) -> str:
        cookie = secrets.token_urlsafe(32)
        await accounts.sessions.confirm(principal.session_id, digest(cookie))
        accounts.users.tell_change(principal.user_id)
        accounts.security_events.record(kind, principal.user_id)
        return cookie

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
        *,
        is_confirmed: bool = True,
    ) -> SignedIn:
        cookie = secrets.token_urlsafe(32)
        session = self._auth.new_session(user, scopes, client)
        if not is_confirmed:
            session.confirmed_at = None
        session.cookie_hash = digest(cookie)
        if previous:
            await accounts.sessions.end_by_cookie(digest(previous))
        await self._auth.add_session(accounts, session)
        await accounts.sessions.clean_up()
        return SignedIn(cookie, self._devices.issue(user))
