"""Confirmations: a user proves again to be there, before sensitive actions of a session."""

import secrets
from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr

from app.accounts.models import EventKind
from app.accounts.repository import Accounts
from app.accounts.schemas import SessionConfirmation
from app.accounts.scopes import allowed_scopes
from app.accounts.service.auth import Prove
from app.accounts.service.codes import SecondFactorCodes
from app.accounts.service.passwords import AccountPasswords, found, lock_checked
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import FactorRequired, Forbidden, PasswordRequired
from app.core.security.principal import Principal
from app.core.security.tokens import digest


class ConfirmationService:
    """Decides whether a session is confirmed, and confirms it.

    A second factor confirms more than the password: to change the factors of an account takes one.
    """

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: AccountPasswords,
        codes: SecondFactorCodes,
        *,
        lifetime: timedelta,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._codes = codes
        self._lifetime = lifetime

    async def is_recent(self, principal: Principal) -> bool:
        """Return whether the session was confirmed recently enough, in any way."""
        async with self._accounts.reading() as accounts:
            since = utc_now() - self._lifetime
            return await accounts.sessions.is_confirmed(principal.session_id, since)

    async def lacks_factor(self, principal: Principal) -> bool:
        """Return whether the session has yet to be confirmed by a factor of the account."""
        async with self._accounts.reading() as accounts:
            return await self._lacks_factor(accounts, principal)

    async def restrict(self, principal: Principal) -> Principal:
        """Return a superuser whose session was not confirmed recently as an ordinary user."""
        if not principal.is_superuser or await self.is_recent(principal):
            return principal
        scopes = principal.scopes & allowed_scopes(is_superuser=False)
        return replace(principal, scopes=scopes, is_superuser=False, lacks_confirmation=True)

    async def require_recent(self, principal: Principal) -> None:
        """Raise PasswordRequired for a session that was not confirmed recently.

        An API key acts without its owner, who confirmed when the key was made.
        """
        if not principal.is_api_key and not await self.is_recent(principal):
            raise not_confirmed()

    async def require_factor(self, accounts: Accounts, principal: Principal) -> None:
        """Raise FactorRequired if the account has a second factor that was not used recently.

        Otherwise a person who has the password and a session would get around it by another factor.
        """
        if await self._lacks_factor(accounts, principal):
            raise FactorRequired

    async def confirm_session(self, principal: Principal, data: SessionConfirmation) -> str:
        """Confirm the session of a client of the API, and return a new cookie for a browser.

        Raise Forbidden when the password or the code is wrong.
        """
        if principal.is_api_key:
            raise Forbidden("An API key has nothing to confirm.")
        if isinstance(data.code, SecretStr):
            return await self.confirm_by_code(principal, data.code)
        return await self.confirm(principal, data.current_password)

    async def confirm(self, principal: Principal, password: SecretStr) -> str:
        """Note that the user has entered the password, and return a new cookie for a browser.

        A copy of the old one is worthless then. Raise Forbidden when the password is wrong.
        """
        seen = await self._passwords.check(principal.user_id, password)
        async with self._accounts.transaction() as accounts:
            await lock_checked(accounts, principal, seen)
            return await self._note(accounts, principal, EventKind.PASSWORD_CHECK)

    async def confirm_by_code(self, principal: Principal, code: SecretStr) -> str:
        """Take a code of the second factor instead, and return a new cookie. Raise Forbidden."""
        await self._codes.check(principal.user_id, code)
        async with self._accounts.transaction() as accounts:
            kind = EventKind.SECOND_FACTOR_CHECK
            return await self._note(accounts, principal, kind, by_factor=True)

    async def confirm_as(
        self, principal: Principal, prove: Prove, kind: str, *, by_factor: bool
    ) -> str:
        """Take another proof instead, and return a new cookie."""
        async with self._accounts.transaction() as accounts:
            user = found(await accounts.users.lock(principal.user_id), principal.user_id)
            await prove(accounts, user)
            return await self._note(accounts, principal, kind, by_factor=by_factor)

    async def _note(
        self, accounts: Accounts, principal: Principal, kind: str, *, by_factor: bool = False
    ) -> str:
        cookie = secrets.token_urlsafe(32)
        await accounts.sessions.confirm(principal.session_id, digest(cookie), by_factor=by_factor)
        accounts.users.tell_change(principal.user_id)
        accounts.security_events.record(kind, principal.user_id)
        return cookie

    async def _lacks_factor(self, accounts: Accounts, principal: Principal) -> bool:
        if not await accounts.second_factors.is_enabled(principal.user_id):
            return False
        since = utc_now() - self._lifetime
        return not await accounts.sessions.is_confirmed(principal.session_id, since, by_factor=True)


def not_confirmed() -> PasswordRequired:
    return PasswordRequired("Confirm with POST /api/v1/auth/confirm, then try again.")
