"""OAuth2 grants (RFC 6749), their revocation (RFC 7009), and the sessions behind them."""

import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from app.accounts.models import (
    AuthSession,
    EventKind,
    Outcome,
    RefreshToken,
    SignInChallenge,
    User,
    email_key,
)
from app.accounts.repository import Accounts
from app.accounts.schemas import (
    ClientInfo,
    SecondFactorSignIn,
    SessionRead,
    TokenRead,
    TokenRequest,
)
from app.accounts.scopes import allowed_scopes
from app.accounts.service.attempts import Attempts, source_of
from app.accounts.service.codes import WRONG_CODE, SecondFactorCodes
from app.accounts.service.devices import Devices
from app.accounts.service.security_events import SecurityEventService
from app.accounts.session_cache import SessionCache, cache_key
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import (
    InvalidTokenRequest,
    NotFound,
    SecondFactorRequired,
    Unauthenticated,
)
from app.core.security.fair_queue import FairQueue
from app.core.security.passwords import Passwords, is_encodable
from app.core.security.principal import Principal
from app.core.security.tokens import AccessTokens, digest
from app.core.translation import current_language

MAX_EMAIL = 320
MAX_SCOPE = 1000
MAX_SUCCESSORS = 3  # of a refresh token whose response was lost
CHALLENGE_LIFETIME = timedelta(minutes=5)
MAX_CODES_PER_CHALLENGE = 5
IDS_AT_ONCE = 100  # a driver keeps one prepared statement for each number of them

ResultT = TypeVar("ResultT")
# Opens a session with scopes. The last argument says whether the user has used a second factor.
OpenSession = Callable[[Accounts, User, frozenset[str], bool], Awaitable[ResultT]]
# Raises an error unless what the user has proved still holds. The user is locked by then.
Prove = Callable[[Accounts, User], Awaitable[None]]


class AuthService:
    """Grants and sessions, in short units of work: no connection is held during hashing."""

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: Passwords,
        hashing: FairQueue,
        tokens: AccessTokens,
        cache: SessionCache,
        attempts: Attempts,
        security_events: SecurityEventService,
        codes: SecondFactorCodes,
        devices: Devices,
        *,
        session_lifetime: timedelta,
        idle_lifetime: timedelta,
        reuse_grace: timedelta,
        require_verified_email: bool,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._hashing = hashing
        self._tokens = tokens
        self._cache = cache
        self._attempts = attempts
        self._security_events = security_events
        self._codes = codes
        self._devices = devices
        self._session_lifetime = session_lifetime
        self._idle_lifetime = idle_lifetime
        self._reuse_grace = reuse_grace
        self._require_verified_email = require_verified_email

    async def grant(self, request: TokenRequest, client: ClientInfo) -> TokenRead:
        match request.grant_type:
            case "password":
                return await self._sign_in(request, client)
            case "refresh_token":
                return await self._refresh(request)
            case "":
                raise InvalidTokenRequest("invalid_request", "grant_type is missing.")
            case _:
                raise InvalidTokenRequest(
                    "unsupported_grant_type", "grant_type must be password or refresh_token."
                )

    async def grant_by_code(self, data: SecondFactorSignIn, client: ClientInfo) -> TokenRead:
        """Complete a password grant that raised SecondFactorRequired."""
        return await self.complete_sign_in(data, client, partial(self._open_session, client))

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of an access token; raise Unauthenticated when it is not valid."""
        key = cache_key("token", token)
        principal = self._cache.get(key)
        if principal is None:
            claims, change_count = self._tokens.read(token), self._cache.change_count
            async with self._accounts.reading() as accounts:
                principal, ends_at = await accounts.sessions.verify(claims)
            self._cache.put(change_count, key, principal, min(claims.exp, ends_at.timestamp()))
        return principal

    async def active_session_ids(self, session_ids: Collection[UUID]) -> set[UUID]:
        """Return those of the sessions and API keys that have not ended."""
        ids, found = list(session_ids), set[UUID]()
        async with self._accounts.reading() as accounts:
            for start in range(0, len(ids), IDS_AT_ONCE):
                batch = ids[start : start + IDS_AT_ONCE]
                found.update(await accounts.sessions.active_ids(batch))
                if others := [id_ for id_ in batch if id_ not in found]:
                    found.update(await accounts.api_keys.active_ids(others))
        return found

    async def revoke(self, token: str) -> None:
        """End the session of a refresh token or an access token. Ignore any other token."""
        async with self._accounts.transaction() as accounts:
            session = await accounts.sessions.lock_by_refresh_token(digest(token))
            if session is not None:
                await accounts.sessions.end(session.id, by=session.user_id)
                return
            with suppress(Unauthenticated):
                claims = self._tokens.read(token)
                await accounts.sessions.end(claims.sid, by=claims.sub)

    async def list_sessions(self, principal: Principal) -> Sequence[SessionRead]:
        async with self._accounts.reading() as accounts:
            sessions = await accounts.sessions.list(principal.user_id)
        found = [SessionRead.model_validate(session) for session in sessions]
        for session in found:
            session.is_current = session.id == principal.session_id
        return found

    async def end_session(self, principal: Principal, session_id: UUID) -> None:
        async with self._accounts.transaction() as accounts:
            if not await accounts.sessions.end(session_id, principal.user_id):
                raise NotFound(f"Session Not Found (id: {session_id})")

    async def end_sessions(self, session_ids: Collection[UUID]) -> None:
        """End sessions of any user, for an administrator. Ignore those that have ended already."""
        async with self._accounts.transaction() as accounts:
            for session_id in sorted(session_ids):
                await accounts.sessions.end(session_id)

    async def clean_up(self) -> int:
        """Delete all sessions, keys and records that are over, and return their number.

        They are deleted a few at a time, in short transactions.
        """
        total = 0
        while True:
            async with self._accounts.transaction() as accounts:
                deleted = (
                    await accounts.sessions.clean_up()
                    + await accounts.api_keys.clean_up()
                    + await accounts.email_tokens.clean_up()
                    + await accounts.challenges.clean_up()
                    + await accounts.idempotency.clean_up()
                    + await accounts.undo_records.clean_up()
                )
            deleted += await self._security_events.clean_up()
            if not deleted:
                return total
            total += deleted

    async def _sign_in(self, request: TokenRequest, client: ClientInfo) -> TokenRead:
        username, password = request.username, request.password.get_secret_value()
        if not username or not password:
            raise InvalidTokenRequest("invalid_request", "username or password is missing.")
        open_session = partial(self._open_session, client)
        return await self.sign_in(username, password, request.scope, client, open_session)

    async def sign_in(
        self,
        username: str,
        password: str,
        scope: str | None,
        client: ClientInfo,
        open_session: OpenSession[ResultT],
    ) -> ResultT:
        """Check the password, and return what `open_session` returns.

        In its transaction, user and password are as they were checked. Raise SecondFactorRequired
        for a user who has one: `complete_sign_in` goes on then.
        """
        # No account has an address that is no text or too long, and to normalize one takes a while.
        is_sane = len(username) <= MAX_EMAIL and is_encodable(username)
        key = email_key(username) if is_sane else ""
        await self._attempts.sign_in(client.network, key)
        try:
            return await self._check_and_open(key, password, scope, client, open_session)
        except InvalidTokenRequest as error:
            if error.error == "invalid_grant":
                await self._security_events.record_failure(EventKind.SIGN_IN, email_key=key)
            raise

    async def sign_in_as(
        self,
        user_id: int,
        prove: Prove,
        client: ClientInfo,
        open_session: OpenSession[ResultT],
        *,
        is_complete: bool,
    ) -> ResultT:
        """Sign in a user who has proved without a password who they are.

        `is_complete` says that the proof is of two factors. Otherwise raise SecondFactorRequired
        for a user who has a second one.
        """
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(user_id)
            if user is None or not user.is_active:
                raise InvalidTokenRequest("invalid_grant", "This account cannot sign in.")
            if self._lacks_verification(user):
                raise not_confirmed()
            await prove(accounts, user)
            scopes = allowed_scopes(user.is_superuser)
            await self._tell_new_device(accounts, user, client)
            if is_complete or not await accounts.second_factors.is_enabled(user.id):
                return await open_session(accounts, user, scopes, is_complete)
            challenge = await self._add_challenge(accounts, user.id, scopes)
        raise SecondFactorRequired(challenge)  # after the commit

    async def challenged_user(self, challenge: str) -> User:
        """Return the user whose sign-in waits for a second factor. Raise InvalidTokenRequest."""
        async with self._accounts.reading() as accounts:
            found = await accounts.challenges.get(digest(challenge))
            user = await accounts.users.get(found.user_id) if found else None
        if found is None or user is None or found.expires_at <= utc_now():
            raise wrong_challenge()
        return user

    async def complete_sign_in_as(
        self, challenge: str, prove: Prove, open_session: OpenSession[ResultT]
    ) -> ResultT:
        """Complete a sign-in by another second factor than a code."""
        token_hash, user_id = digest(challenge), (await self.challenged_user(challenge)).id
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(user_id)
            found = await accounts.challenges.get(token_hash)
            is_open = await accounts.challenges.attempt(token_hash, MAX_CODES_PER_CHALLENGE)
            if user is None or not user.is_active or found is None or not is_open:
                raise wrong_challenge()
            await prove(accounts, user)
            await accounts.challenges.delete(token_hash)
            scopes = frozenset(found.scope.split()) & allowed_scopes(user.is_superuser)
            return await open_session(accounts, user, scopes, True)

    async def grant_as(self, user_id: int, prove: Prove, client: ClientInfo) -> TokenRead:
        """Grant tokens to a user who has proved two factors without a password."""
        open_session = partial(self._open_session, client)
        return await self.sign_in_as(user_id, prove, client, open_session, is_complete=True)

    async def grant_by_factor(self, challenge: str, prove: Prove, client: ClientInfo) -> TokenRead:
        """Complete a password grant by another second factor than a code."""
        open_session = partial(self._open_session, client)
        return await self.complete_sign_in_as(challenge, prove, open_session)

    async def complete_sign_in(
        self, data: SecondFactorSignIn, client: ClientInfo, open_session: OpenSession[ResultT]
    ) -> ResultT:
        """Check the code of a sign-in, and return what `open_session` returns."""
        await self._attempts.challenge(client.network)
        token_hash = digest(data.challenge.get_secret_value())
        async with self._accounts.reading() as accounts:
            challenge = await accounts.challenges.get(token_hash)
            seen = await accounts.users.get(challenge.user_id) if challenge else None
        if challenge is None:
            raise wrong_challenge()
        is_known = self._devices.is_known(seen, client.device)
        await self._attempts.code(challenge.user_id, source_of(is_known))
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(challenge.user_id)
            is_open = await accounts.challenges.attempt(token_hash, MAX_CODES_PER_CHALLENGE)
            if user is None or not user.is_active or not is_open:
                raise wrong_challenge()
            if await self._codes.accept(accounts, user, data.code):
                await accounts.challenges.delete(token_hash)
                scopes = frozenset(challenge.scope.split()) & allowed_scopes(user.is_superuser)
                return await open_session(accounts, user, scopes, True)
        await self._codes.record_refusal(challenge.user_id)  # The attempt is committed.
        raise InvalidTokenRequest("invalid_grant", WRONG_CODE)

    async def _check_and_open(
        self,
        key: str,
        password: str,
        scope: str | None,
        client: ClientInfo,
        open_session: OpenSession[ResultT],
    ) -> ResultT:
        for _ in range(2):  # once more when the password changed meanwhile, or its hash was renewed
            async with self._accounts.reading() as accounts:
                seen = await accounts.users.get_by_email(key)
            check = partial(self._check_password, seen, key, password, client)
            checked, new_hash = await self._hashing.run(client.network, check)
            async with self._accounts.transaction() as accounts:
                user = await accounts.users.get_unchanged(checked)
                if user is None:
                    continue
                if new_hash:
                    user.password_hash = new_hash
                scopes = requested_scopes(scope, allowed_scopes(user.is_superuser))
                await self._tell_new_device(accounts, user, client)
                if not await accounts.second_factors.is_enabled(user.id):
                    return await open_session(accounts, user, scopes, False)
                challenge = await self._add_challenge(accounts, user.id, scopes)
            raise SecondFactorRequired(challenge)  # after the commit
        raise wrong_password()

    async def _add_challenge(self, accounts: Accounts, user_id: int, scopes: frozenset[str]) -> str:
        """Return a token that stands for the right password until the code is checked."""
        token = secrets.token_urlsafe(32)
        await accounts.challenges.add(
            SignInChallenge(
                user_id=user_id,
                token_hash=digest(token),
                scope=" ".join(sorted(scopes)),
                expires_at=utc_now() + CHALLENGE_LIFETIME,
            )
        )
        await accounts.challenges.clean_up()
        accounts.security_events.record(EventKind.SECOND_FACTOR_REQUESTED, user_id, by=user_id)
        return token

    async def _tell_new_device(self, accounts: Accounts, user: User, client: ClientInfo) -> None:
        """Mail the owner when the right password comes from a new device, even without a code."""
        if await accounts.sessions.is_new_device(user.id, client.address, client.user_agent):
            await accounts.jobs.enqueue(
                "send_notice", "new_device", user.email, current_language().tag
            )

    async def _open_session(
        self,
        client: ClientInfo,
        accounts: Accounts,
        user: User,
        scopes: frozenset[str],
        by_factor: bool,
    ) -> TokenRead:
        session = self.new_session(user, scopes, client, by_factor=by_factor)
        # An access token is valid for about as long as a confirmation: a stolen one would be
        # confirmed. So clients of the API confirm by themselves. A second factor of the sign-in
        # counts as used: whatever takes one in the API takes the password as well.
        session.confirmed_at = None
        await self.add_session(accounts, session)
        refresh_token = await self._issue_refresh_token(accounts, session)
        return self._token(user.id, session, scopes, refresh_token)

    async def add_session(self, accounts: Accounts, session: AuthSession) -> None:
        await accounts.sessions.add(session)
        accounts.security_events.record(
            EventKind.SIGN_IN, session.user_id, by=session.user_id, session_id=session.id
        )

    def new_session(
        self, user: User, scopes: frozenset[str], client: ClientInfo, *, by_factor: bool
    ) -> AuthSession:
        return AuthSession(
            user_id=user.id,
            scope=" ".join(sorted(scopes)),
            address=client.address,
            user_agent=client.user_agent,
            confirmed_at=utc_now(),
            factor_confirmed_at=utc_now() if by_factor else None,
            expires_at=self._expiry(utc_now()),
        )

    def touch(self, session: AuthSession) -> None:
        """Note that a session is used: it ends later, but not after its lifetime."""
        session.last_used_at = utc_now()
        session.expires_at = self._expiry(session.created_at)

    def _expiry(self, created_at: datetime) -> datetime:
        return min(created_at + self._session_lifetime, utc_now() + self._idle_lifetime)

    async def _check_password(
        self, user: User | None, key: str, password: str, client: ClientInfo
    ) -> tuple[User, str | None]:
        """Return the user, and a new hash if the old one is outdated.

        Failures are counted when it is this attempt's turn: of many at once, few more than the
        limit are checked.
        """
        is_known = self._devices.is_known(user, client.device)
        await self._attempts.check_failures(client.network, key, is_known=is_known)
        stored = user.password_hash if user and user.has_password else None
        matches, new_hash = await self._passwords.verify(password, stored)
        if user is None or not matches or not user.is_active:
            await self._attempts.count_failure(client.network, key, is_known=is_known)
            raise wrong_password()
        if self._lacks_verification(user):
            raise not_confirmed()
        return user, new_hash

    def _lacks_verification(self, user: User) -> bool:
        return self._require_verified_email and not user.is_verified

    async def _refresh(self, request: TokenRequest) -> TokenRead:
        refresh_token = request.refresh_token.get_secret_value()
        if not refresh_token:
            raise InvalidTokenRequest("invalid_request", "refresh_token is missing.")
        token_hash = digest(refresh_token)
        async with self._accounts.transaction() as accounts:
            session = await accounts.sessions.lock_by_refresh_token(token_hash)
            if session is None:
                raise wrong_refresh_token()
            user = await accounts.users.get(session.user_id)
            if user is None or not user.is_active or self._lacks_verification(user):
                raise wrong_refresh_token()
            stolen = await self._use(accounts, token_hash)
            if stolen:
                accounts.security_events.record(
                    EventKind.REFRESH_TOKEN_REUSED,
                    user.id,
                    session_id=session.id,
                    outcome=Outcome.FAILURE,
                )
            if stolen or session.expires_at <= utc_now():
                await accounts.sessions.end(session.id)
            else:
                granted = frozenset(session.scope.split()) & allowed_scopes(user.is_superuser)
                scopes = requested_scopes(request.scope, granted)
                self.touch(session)
                successor = await self._issue_refresh_token(accounts, session, token_hash)
                return self._token(user.id, session, scopes, successor)
        raise wrong_refresh_token()  # after the commit: the session has ended all the same

    async def _use(self, accounts: Accounts, token_hash: str) -> bool:
        """Use a refresh token, and return whether two parties have it or its predecessor.

        A client that lost the response may use a token again, within the grace and while none of
        its successors is used. Once two of them are used, two parties go on from one token.
        """
        is_first_use = await accounts.sessions.use_refresh_token(token_hash)
        token = await accounts.sessions.get_refresh_token(token_hash)
        if is_first_use or token.used_at is None:
            if token.parent_hash is None:
                return False
            _, used = await accounts.sessions.count_successors(token.parent_hash)
            return used > 1
        successors, used = await accounts.sessions.count_successors(token_hash)
        if used or utc_now() - token.used_at > self._reuse_grace:
            return True
        if successors >= MAX_SUCCESSORS:
            raise wrong_refresh_token()
        return False

    async def _issue_refresh_token(
        self, accounts: Accounts, session: AuthSession, parent_hash: str | None = None
    ) -> str:
        token = secrets.token_urlsafe(32)
        await accounts.sessions.add_refresh_token(
            RefreshToken(session_id=session.id, token_hash=digest(token), parent_hash=parent_hash)
        )
        await accounts.sessions.clean_up()
        return token

    def _token(
        self, user_id: int, session: AuthSession, scopes: frozenset[str], refresh_token: str
    ) -> TokenRead:
        return TokenRead(
            access_token=self._tokens.issue(user_id, session.id, scopes),
            expires_in=int(self._tokens.lifetime.total_seconds()),
            refresh_token=refresh_token,
            scope=" ".join(sorted(scopes)),
        )


def requested_scopes(requested: str | None, allowed: frozenset[str]) -> frozenset[str]:
    if len(requested or "") > MAX_SCOPE:
        raise InvalidTokenRequest("invalid_scope", "The scope is too long.")
    scopes = frozenset((requested or "").split())
    if not scopes <= allowed:
        raise InvalidTokenRequest(
            "invalid_scope",
            "The requested scope includes permissions that this account does not have.",
        )
    return scopes or allowed


def wrong_password() -> InvalidTokenRequest:
    return InvalidTokenRequest("invalid_grant", "The email address or password is wrong.")


def not_confirmed() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_grant", "The email address is not confirmed. Follow the link in the email."
    )


def wrong_challenge() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_grant", "The sign-in has expired, or had too many wrong codes. Sign in again."
    )


def wrong_refresh_token() -> InvalidTokenRequest:
    return InvalidTokenRequest(
        "invalid_grant", "The refresh token is invalid, expired or already used."
    )
