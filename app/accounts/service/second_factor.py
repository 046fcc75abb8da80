"""The second factor of an account: set up, switched off, and required of superusers.

Here it is an authenticator app. Features can have other factors, such as passkeys.
"""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pyotp
from pydantic import SecretStr

from app.accounts.models import EventKind, SecondFactor, User
from app.accounts.repository import Accounts
from app.accounts.schemas import (
    RecoveryCodes,
    SecondFactorEnable,
    SecondFactorProof,
    SecondFactorRead,
    SecondFactorSetUp,
)
from app.accounts.scopes import allowed_scopes
from app.accounts.service.attempts import Attempts
from app.accounts.service.codes import (
    SIGNED_IN_BUCKET,
    WRONG_CODE,
    SecondFactorCodes,
    normalize_code,
    step_of,
)
from app.accounts.service.confirmations import ConfirmationService
from app.accounts.service.passwords import (
    AccountPasswords,
    found,
    lock_checked,
    require_verified,
)
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, Invalid, WrongCode
from app.core.security.principal import Principal
from app.core.security.seals import InvalidSeal, Seals
from app.core.translation import current_language

SET_UP_LIFETIME = timedelta(minutes=15)
BATCH_SIZE = 100


class SecondFactorService:
    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        codes: SecondFactorCodes,
        passwords: AccountPasswords,
        confirmations: ConfirmationService,
        attempts: Attempts,
        seals: Seals,
        set_up_seals: Seals,
        *,
        issuer: str,
        is_required: bool,
    ) -> None:
        self._accounts = accounts
        self._codes = codes
        self._passwords = passwords
        self._confirmations = confirmations
        self._attempts = attempts
        self._seals = seals
        self._set_up_seals = set_up_seals
        self._issuer = issuer
        self._is_required = is_required

    async def restrict(self, principal: Principal) -> Principal:
        """Return a superuser who lacks the required second factor as an ordinary user.

        A superuser's API key is no superuser, but may have scopes that others cannot have.
        """
        if not self._is_required:
            return principal
        scopes = principal.scopes & allowed_scopes(is_superuser=False)
        is_ordinary = not principal.is_superuser and scopes == principal.scopes
        if is_ordinary or await self.is_enabled(principal):
            return principal
        return replace(principal, scopes=scopes, is_superuser=False, lacks_second_factor=True)

    async def is_enabled(self, principal: Principal) -> bool:
        """Return whether the user has a factor of any kind."""
        async with self._accounts.reading() as accounts:
            return await accounts.second_factors.is_enabled(principal.user_id)

    async def has_app(self, principal: Principal) -> bool:
        async with self._accounts.reading() as accounts:
            return await accounts.second_factors.has_app(principal.user_id)

    async def get(self, principal: Principal) -> SecondFactorRead:
        async with self._accounts.reading() as accounts:
            factor = await accounts.second_factors.get(principal.user_id)
            left = await accounts.second_factors.count_codes(principal.user_id)
        return SecondFactorRead(
            is_enabled=factor is not None,
            enabled_at=factor.enabled_at if factor else None,
            recovery_codes_left=left,
        )

    async def begin(self, principal: Principal, password: SecretStr) -> SecondFactorSetUp:
        """Return a new secret. Raise Forbidden when the current password is wrong.

        Raise FactorRequired if the account has another factor, which the session has not used.
        """
        await self._passwords.check(principal.user_id, password)
        return await self.begin_confirmed(principal)

    async def begin_confirmed(self, principal: Principal) -> SecondFactorSetUp:
        """Return a new secret to a user who has confirmed the password.

        Nothing is stored: the token holds the secret, and is valid for a while.
        """
        async with self._accounts.reading() as accounts:
            user = found(await accounts.users.get(principal.user_id), principal.user_id)
            if await accounts.second_factors.has_app(user.id):
                raise already_enabled()
            require_verified(user)
            await self._confirmations.require_factor(accounts, principal)
        secret = pyotp.random_base32()
        return self._set_up(secret, user.email, self._set_up_seals.seal(user.id, secret))

    async def resume(self, principal: Principal, token: str) -> SecondFactorSetUp:
        """Return the set-up of a token. Raise Invalid if the token has expired."""
        secret = self._secret_of(principal, token)
        async with self._accounts.reading() as accounts:
            user = found(await accounts.users.get(principal.user_id), principal.user_id)
            if await accounts.second_factors.has_app(user.id):
                raise already_enabled()
        return self._set_up(secret, user.email, token)

    async def enable(self, principal: Principal, data: SecondFactorEnable) -> RecoveryCodes:
        """Enable the second factor with a code of the app. Raise Forbidden when it is wrong.

        What the password alone has opened ends: the other sessions and the API keys.
        """
        user_id = principal.user_id
        secret = self._secret_of(principal, data.token.get_secret_value())
        if await self.has_app(principal):
            raise already_enabled()
        await self._attempts.code(user_id, SIGNED_IN_BUCKET)
        step = step_of(secret, normalize_code(data.code))
        if step is None:
            await self._codes.record_refusal(user_id)
            raise WrongCode(WRONG_CODE)
        async with self._accounts.transaction() as accounts:
            user = await accounts.lock_user_of(principal)
            if await accounts.second_factors.has_app(user_id):
                raise already_enabled()
            require_verified(user)
            await self._confirmations.require_factor(accounts, principal)
            await accounts.second_factors.add(
                SecondFactor(
                    user_id=user_id,
                    sealed_secret=self._seals.seal(user_id, secret),
                    last_step=step,
                )
            )
            await accounts.sessions.end_all(user_id, keep=principal.session_id)
            await accounts.sessions.note_factor(principal.session_id)
            await accounts.api_keys.revoke_all(user_id)
            codes = await self._codes.replace_recovery_codes(accounts, user_id)
            accounts.security_events.record(EventKind.SECOND_FACTOR_ENABLED, user_id)
            await accounts.jobs.enqueue(
                "send_notice", "second_factor_enabled", user.email, current_language().tag
            )
        return RecoveryCodes(recovery_codes=codes)

    async def renew_recovery_codes(
        self, principal: Principal, data: SecondFactorProof
    ) -> RecoveryCodes:
        """Replace the recovery codes. Raise Forbidden when the password or the code is wrong."""
        seen = await self._prove(principal, data)
        async with self._accounts.transaction() as accounts:
            user = await lock_checked(accounts, principal, seen)
            return await self._renew(accounts, user)

    async def renew_confirmed_recovery_codes(self, principal: Principal) -> RecoveryCodes:
        """Replace the recovery codes of a user who has confirmed the session by a factor.

        Raise FactorRequired, or Conflict for a user with an app, which a new code would switch off:
        that takes the password and a code, and the session may be confirmed by one of them.
        """
        async with self._accounts.transaction() as accounts:
            user = await accounts.lock_user_of(principal)
            await self._confirmations.require_factor(accounts, principal)
            if await accounts.second_factors.has_app(user.id):
                raise Conflict(
                    "This requires a code from your app. Go to the page “Second factor”."
                )
            return await self._renew(accounts, user)

    async def disable(self, principal: Principal, data: SecondFactorProof) -> None:
        """Disable the second factor. Raise Forbidden when the password or the code is wrong."""
        seen = await self._prove(principal, data)
        async with self._accounts.transaction() as accounts:
            user = await lock_checked(accounts, principal, seen)
            if not await accounts.second_factors.delete_app(user.id):
                raise not_enabled()
            await self._end(accounts, user, keep=principal.session_id)

    async def remove(self, user_id: int) -> None:
        """Disable all factors of a user, for an administrator who has verified the user."""
        async with self._accounts.transaction() as accounts:
            await self.switch_off(accounts, found(await accounts.users.lock(user_id), user_id))

    async def switch_off(self, accounts: Accounts, user: User) -> None:
        """Disable all factors of a locked user, and end every session. Raise Conflict."""
        if not await accounts.second_factors.delete_all(user.id):
            raise not_enabled()
        await self._end(accounts, user)

    async def renew_seals(self) -> tuple[int, int]:
        """Encrypt all secrets with the current SECRET_KEY.

        Return the number of those that are encrypted, and of those whose key is unknown.
        """
        results, last = Counter[bool](), 0
        while True:
            async with self._accounts.transaction() as accounts:
                factors = await accounts.second_factors.list(last, BATCH_SIZE)
                results.update(map(self._codes.renew_seal, factors))
            if not factors:
                return results[True], results[False]
            last = factors[-1].user_id

    async def _renew(self, accounts: Accounts, user: User) -> RecoveryCodes:
        if not await accounts.second_factors.is_enabled(user.id):
            raise not_enabled()
        codes = await self._codes.replace_recovery_codes(accounts, user.id)
        accounts.security_events.record(EventKind.RECOVERY_CODES_RENEWED, user.id)
        await accounts.jobs.enqueue(
            "send_notice", "recovery_codes_renewed", user.email, current_language().tag
        )
        return RecoveryCodes(recovery_codes=codes)

    async def _end(self, accounts: Accounts, user: User, keep: UUID | None = None) -> None:
        await accounts.sessions.end_all(user.id, keep=keep)
        accounts.security_events.record(EventKind.SECOND_FACTOR_DISABLED, user.id)
        await accounts.jobs.enqueue(
            "send_notice", "second_factor_disabled", user.email, current_language().tag
        )

    async def _prove(self, principal: Principal, data: SecondFactorProof) -> User:
        """Return the user as they were checked. Raise Forbidden."""
        seen = await self._passwords.check(principal.user_id, data.current_password)
        if not await self.is_enabled(principal):
            raise not_enabled()
        await self._codes.check(principal.user_id, data.code)
        return seen

    def _secret_of(self, principal: Principal, token: str) -> str:
        try:
            return self._set_up_seals.unseal(principal.user_id, token, SET_UP_LIFETIME)
        except InvalidSeal:
            raise Invalid(
                "The set-up is invalid or has expired. Begin again.", "body", "token"
            ) from None

    def _set_up(self, secret: str, email: str, token: str) -> SecondFactorSetUp:
        uri = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=self._issuer)
        return SecondFactorSetUp(token=token, secret=secret, uri=uri)


def already_enabled() -> Conflict:
    return Conflict("The second factor is enabled already. Disable it first.")


def not_enabled() -> Conflict:
    return Conflict("There is no second factor.")
