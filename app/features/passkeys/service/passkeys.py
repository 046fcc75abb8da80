"""Passkeys of accounts: added, removed, and used to sign in or to confirm."""

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from pydantic import SecretStr

from app.accounts.models import User
from app.accounts.repository import Accounts
from app.accounts.schemas import ClientInfo, TokenRead
from app.accounts.service.attempts import Attempts
from app.accounts.service.auth import AuthService, Prove
from app.accounts.service.browser import BrowserService, SignedIn
from app.accounts.service.codes import SecondFactorCodes
from app.accounts.service.confirmations import ConfirmationService
from app.accounts.service.passwords import AccountPasswords, found, require_verified
from app.accounts.service.security_events import SecurityEventService
from app.accounts.service.sign_in_methods import SignInMethods
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, Invalid, InvalidTokenRequest, NotFound
from app.core.security.principal import Principal
from app.core.translation import current_language, mark
from app.features.passkeys.models import (
    MAX_CREDENTIAL_ID,
    MAX_PUBLIC_KEY_BYTES,
    Passkey,
    PasskeyEvent,
)
from app.features.passkeys.repository import PasskeyRepository, Passkeys
from app.features.passkeys.schemas import (
    Challenge,
    PasskeyAnswer,
    PasskeyCreate,
    PasskeyCreated,
    PasskeyOptions,
    PasskeyRead,
    PasskeyUpdate,
    Purpose,
)
from app.features.passkeys.service.challenges import ANYBODY, Challenges, Use

if TYPE_CHECKING:  # The server starts faster without its library.
    from app.features.passkeys.service.ceremony import Ceremonies

MAX_PER_USER = 20
HANDLE_BYTES = 32
logger = logging.getLogger("app.passkeys")


class Answered(NamedTuple):
    """A passkey whose answer was verified. Its use is noted together with what it opens."""

    passkey: Passkey
    sign_count: int
    is_backed_up: bool


class ClonedPasskey(InvalidTokenRequest):
    """The count of a passkey has not grown: two devices may have copies of it."""

    def __init__(self) -> None:
        super().__init__("invalid_grant", mark("This passkey was refused. Sign in another way."))


class PasskeyService:
    def __init__(
        self,
        units: UnitsOfWork[Passkeys],
        ceremonies: "Ceremonies",
        challenges: Challenges,
        auth: AuthService,
        browsers: BrowserService,
        confirmations: ConfirmationService,
        methods: SignInMethods,
        passwords: AccountPasswords,
        codes: SecondFactorCodes,
        attempts: Attempts,
        security_events: SecurityEventService,
    ) -> None:
        self._units = units
        self._ceremonies = ceremonies
        self._challenges = challenges
        self._auth = auth
        self._browsers = browsers
        self._confirmations = confirmations
        self._methods = methods
        self._passwords = passwords
        self._codes = codes
        self._attempts = attempts
        self._security_events = security_events

    async def list(self, principal: Principal) -> Sequence[PasskeyRead]:
        return [PasskeyRead.model_validate(each) for each in await self._list(principal.user_id)]

    async def begin_creation(self, principal: Principal, password: SecretStr) -> PasskeyOptions:
        """Return the options for a new passkey. Raise Forbidden when the password is wrong.

        Raise FactorRequired if the account has a factor, which the session has not used.
        """
        await self._passwords.check(principal.user_id, password)
        return await self.begin_confirmed_creation(principal)

    async def begin_confirmed_creation(self, principal: Principal) -> PasskeyOptions:
        """Return the options for a new passkey to a user who has confirmed the password."""
        async with self._units.reading() as unit:
            user = found(await unit.users.get(principal.user_id), principal.user_id)
            require_verified(user)  # now, and not when the device has made it
            await self._confirmations.require_factor(unit, principal)
            existing = await unit.passkeys.list(user.id)
        handle = existing[0].user_handle if existing else secrets.token_urlsafe(HANDLE_BYTES)
        challenge, token = self._challenges.issue(use_of("register", principal), handle)
        options = self._ceremonies.creation_options(challenge, handle, user.email, existing)
        return PasskeyOptions(token=token, options=options)

    async def create(self, principal: Principal, data: PasskeyCreate) -> PasskeyCreated:
        """Add a passkey. Raise Invalid, Forbidden or Conflict.

        With the first factor of the account, what the password alone has opened ends: the other
        sessions and the API keys.
        """
        challenge = await self._challenges.use(data.token, use_of("register", principal))
        passkey = self._verify_creation(data, challenge)
        passkey.name, passkey.user_id = data.name, principal.user_id
        passkey.user_handle = challenge.user_handle
        async with self._units.transaction() as unit:
            user = await unit.lock_user_of(principal)
            require_verified(user)
            await self._confirmations.require_factor(unit, principal)
            existing = await unit.passkeys.list(user.id)
            if existing and existing[0].user_handle != passkey.user_handle:
                raise Conflict("Another passkey was added meanwhile. Try again.")
            if len(existing) >= MAX_PER_USER:
                raise Conflict("An account has at most {limit} passkeys.", limit=MAX_PER_USER)
            codes = None
            if not await unit.second_factors.is_enabled(user.id):
                codes = await self._codes.replace_recovery_codes(unit, user.id)
                await unit.sessions.end_all(user.id, keep=principal.session_id)
                await unit.api_keys.revoke_all(user.id)
            await unit.passkeys.add(passkey)
            await unit.sessions.note_factor(principal.session_id)
            unit.security_events.record(PasskeyEvent.ADDED, user.id)
            await self._notify(unit, user, "passkey_added")
            read = PasskeyRead.model_validate(passkey)
        return PasskeyCreated(**read.model_dump(), recovery_codes=codes)

    async def rename(
        self, principal: Principal, passkey_id: UUID, data: PasskeyUpdate
    ) -> PasskeyRead:
        async with self._units.transaction() as unit:
            passkey = await unit.passkeys.rename(passkey_id, principal.user_id, data.name)
            if passkey is None:
                raise not_found(passkey_id)
            return PasskeyRead.model_validate(passkey)

    async def remove(self, principal: Principal, passkey_id: UUID, password: SecretStr) -> None:
        """Remove a passkey. Raise Forbidden when the current password is wrong."""
        await self._passwords.check(principal.user_id, password)
        await self.remove_confirmed(principal, passkey_id)

    async def remove_confirmed(self, principal: Principal, passkey_id: UUID) -> None:
        """Remove a passkey of a user who has confirmed the password.

        Raise FactorRequired, NotFound, or Conflict if it is the only way to sign in. Without the
        last factor, the other sessions and the recovery codes end.
        """
        async with self._units.transaction() as unit:
            user = await unit.lock_user_of(principal)
            await self._confirmations.require_factor(unit, principal)
            if not await unit.passkeys.delete(passkey_id, user.id):
                raise not_found(passkey_id)
            await self._methods.require_any(unit, user)
            if not await unit.second_factors.is_enabled(user.id):
                await unit.second_factors.forget_codes(user.id)
                await unit.sessions.end_all(user.id, keep=principal.session_id)
            unit.security_events.record(PasskeyEvent.REMOVED, user.id)
            await self._notify(unit, user, "passkey_removed")

    async def begin_sign_in(self, challenge: str = "") -> PasskeyOptions:
        """Return the options to sign in, alone or as the second factor of a sign-in.

        Nothing is stored, so that anybody may ask. Raise InvalidTokenRequest for a sign-in that
        does not wait.
        """
        if not challenge:
            return self._request(Use("sign_in"), [])
        user = await self._auth.challenged_user(challenge)
        allowed = await self._list(user.id)
        return self._request(Use("second_factor", user.id, challenge), allowed)

    async def begin_confirmation(self, principal: Principal) -> PasskeyOptions:
        """Return the options to confirm a session, in place of the password."""
        allowed = await self._list(principal.user_id)
        return self._request(use_of("confirm", principal), allowed)

    async def has_any(self, user_id: int) -> bool:
        return bool(await self._list(user_id))

    async def is_second_factor_of(self, challenge: str) -> bool:
        """Return whether the user of a sign-in that waits has a passkey."""
        try:
            return await self.has_any((await self._auth.challenged_user(challenge)).id)
        except InvalidTokenRequest:
            return False

    async def sign_in(
        self, data: PasskeyAnswer, client: ClientInfo, previous: str | None, challenge: str = ""
    ) -> SignedIn:
        """Sign a browser in. Raise InvalidTokenRequest."""
        answered = await self._answer(data, await self._use_of_sign_in(challenge), client)
        prove = self._prove(answered)
        async with self._clones_recorded(answered):
            if challenge:
                return await self._browsers.complete_sign_in_as(challenge, prove, client, previous)
            user_id = answered.passkey.user_id
            return await self._browsers.sign_in_as(
                user_id, prove, client, previous, is_complete=True, is_recent=True
            )

    async def grant(
        self, data: PasskeyAnswer, client: ClientInfo, challenge: str = ""
    ) -> TokenRead:
        """Grant tokens to a client of the API. Raise InvalidTokenRequest."""
        answered = await self._answer(data, await self._use_of_sign_in(challenge), client)
        prove = self._prove(answered)
        async with self._clones_recorded(answered):
            if challenge:
                return await self._auth.grant_by_factor(challenge, prove, client)
            return await self._auth.grant_as(answered.passkey.user_id, prove, client)

    async def confirm(self, principal: Principal, data: PasskeyAnswer, client: ClientInfo) -> str:
        """Take a passkey in place of the password, and return a new cookie."""
        answered = await self._answer(data, use_of("confirm", principal), client)
        async with self._clones_recorded(answered):
            prove = self._prove(answered)
            return await self._confirmations.confirm_as(
                principal, prove, PasskeyEvent.CHECK, by_factor=True
            )

    async def clean_up(self) -> None:
        """Forget the used challenges that have expired."""
        await self._challenges.clean_up()

    async def _list(self, user_id: int) -> Sequence[Passkey]:
        async with self._units.reading() as unit:
            return await unit.passkeys.list(user_id)

    async def _use_of_sign_in(self, challenge: str) -> Use:
        if not challenge:
            return Use("sign_in")
        user = await self._auth.challenged_user(challenge)
        return Use("second_factor", user.id, challenge)

    async def _answer(self, data: PasskeyAnswer, use: Use, client: ClientInfo) -> Answered:
        """Verify the answer of a passkey. Raise InvalidTokenRequest, and record the failure."""
        await self._attempts.challenge(client.network)
        waiting = await self._challenges.use(data.token, use)
        async with self._units.reading() as unit:
            passkey = await unit.passkeys.find(credential_id_of(data.credential))
        try:
            return self._verify(data.credential, waiting, passkey, use.user_id)
        except ValueError as error:
            logger.warning("The answer of a passkey was refused: %s", error)
            subject_id = passkey.user_id if passkey else use.user_id or None
            await self._security_events.record_failure(PasskeyEvent.CHECK, user_id=subject_id)
            raise refused() from error

    def _verify(
        self, credential: dict[str, Any], waiting: Challenge, passkey: Passkey | None, user_id: int
    ) -> Answered:
        """Return the passkey of an answer. Raise ValueError."""
        if passkey is None:
            raise ValueError("the passkey is not known")
        if user_id not in (ANYBODY, passkey.user_id):
            raise ValueError("the passkey is of another user")
        handle = handle_of(credential)
        if handle is not None and handle != passkey.user_handle:
            raise ValueError("the handle is of another user")
        challenge = bytes.fromhex(waiting.challenge)
        return Answered(passkey, *self._ceremonies.verify_answer(credential, challenge, passkey))

    def _verify_creation(self, data: PasskeyCreate, waiting: Challenge) -> Passkey:
        challenge = bytes.fromhex(waiting.challenge)
        try:
            passkey = self._ceremonies.verify_creation(data.credential, challenge)
        except ValueError as error:
            logger.warning("A new passkey was refused: %s", error)
            raise not_made() from error
        is_short = len(passkey.credential_id) <= MAX_CREDENTIAL_ID
        if not is_short or len(passkey.public_key) > MAX_PUBLIC_KEY_BYTES:
            raise not_made()
        return passkey

    @asynccontextmanager
    async def _clones_recorded(self, answered: Answered) -> AsyncIterator[None]:
        """Record a count that has not grown, which the block has refused."""
        try:
            yield
        except ClonedPasskey:
            user_id = answered.passkey.user_id
            logger.warning("The count of a passkey of user %s has not grown", user_id)
            await self._security_events.record_failure(PasskeyEvent.CLONED, user_id=user_id)
            raise

    def _prove(self, answered: Answered) -> Prove:
        async def prove(accounts: Accounts, user: User) -> None:
            is_used = await PasskeyRepository(accounts.session).use(
                answered.passkey.id,
                user.id,
                answered.sign_count,
                is_backed_up=answered.is_backed_up,
            )
            if not is_used:
                raise ClonedPasskey

        return prove

    def _request(self, use: Use, allowed: Sequence[Passkey]) -> PasskeyOptions:
        challenge, token = self._challenges.issue(use)
        options = self._ceremonies.request_options(challenge, allowed)
        return PasskeyOptions(token=token, options=options)

    async def _notify(self, unit: Passkeys, user: User, kind: str) -> None:
        await unit.jobs.enqueue("send_notice", kind, user.email, current_language().tag)


def use_of(purpose: Purpose, principal: Principal) -> Use:
    """Return a use of the principal's session."""
    return Use(purpose, principal.user_id, str(principal.session_id))


def credential_id_of(credential: dict[str, Any]) -> str:
    given = credential.get("id")
    return given if isinstance(given, str) and given.isascii() and "\x00" not in given else ""


def handle_of(credential: dict[str, Any]) -> object:
    response = credential.get("response")
    return response.get("userHandle") if isinstance(response, dict) else None


def refused() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_grant", "This passkey is not one of yours here, or its answer is not valid."
    )


def not_made() -> Invalid:
    return Invalid("The new passkey is not valid. Try again.", "body", "credential")


def not_found(passkey_id: UUID) -> NotFound:
    return NotFound(f"Passkey Not Found (id: {passkey_id})")
