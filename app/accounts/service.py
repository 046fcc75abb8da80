import unicodedata
from contextlib import suppress
from datetime import timedelta

from app.accounts.models import User
from app.accounts.repository import AccountRepository
from app.accounts.schemas import TokenRead, TokenRequest, UserCreate
from app.core.errors import Conflict, Forbidden, InvalidTokenRequest, NotFound, Unauthenticated
from app.core.orm import utc_now
from app.core.repository import Units
from app.core.security import AccessTokens, Caller, Passwords

USER_SCOPES = {"items:read": "Read items.", "items:write": "Create, change and delete items."}
SUPERUSER_SCOPES = {"users:admin": "Manage the users."}
SCOPES = USER_SCOPES | SUPERUSER_SCOPES


def email_key(email: str) -> str:
    """Two addresses with the same key are one: compatibility forms and case do not count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold())


def allowed_scopes(is_superuser: bool) -> frozenset[str]:
    return frozenset(SCOPES if is_superuser else USER_SCOPES)


class AccountService:
    def __init__(
        self, accounts: AccountRepository, passwords: Passwords, *, signup_enabled: bool
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._signup_enabled = signup_enabled

    async def sign_up(self, data: UserCreate) -> User:
        if not self._signup_enabled:
            raise Forbidden("Sign-up is closed.")
        # Hashed first: the session has opened nothing yet, so that nobody waits for it.
        password_hash = await self._passwords.hash(data.password.get_secret_value())
        user = User(
            email=data.email,
            email_key=email_key(data.email),
            password_hash=password_hash,
            full_name=data.full_name,
        )
        try:
            return await self._accounts.add(user)
        except Conflict as error:
            raise Conflict("There is an account with this e-mail address already.") from error

    async def get(self, user_id: int) -> User:
        user = await self._accounts.get(user_id)
        if user is None:
            raise NotFound(f"User Not Found (id: {user_id})")
        return user


class AuthService:
    """In short units of work: no connection may be held while a password is hashed."""

    def __init__(
        self,
        accounts: Units[AccountRepository],
        passwords: Passwords,
        tokens: AccessTokens,
        session_lifetime: timedelta,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._session_lifetime = session_lifetime

    async def grant(self, request: TokenRequest) -> TokenRead:
        """RFC 6749, section 4.3: the resource owner's password."""
        if not request.grant_type:
            raise InvalidTokenRequest("invalid_request", "grant_type is missing.")
        if request.grant_type != "password":
            raise InvalidTokenRequest("unsupported_grant_type", "grant_type should be password.")
        password = request.password.get_secret_value()
        if not request.username or not password:
            raise InvalidTokenRequest("invalid_request", "username or password is missing.")
        return await self._sign_in(request.username, password, request.scope)

    async def authenticate(self, token: str) -> Caller:
        claims = self._tokens.read(token)
        async with self._accounts.reading() as accounts:
            is_superuser = await accounts.is_superuser(claims.sub, claims.sid)
        if is_superuser is None:
            raise Unauthenticated("The session has ended.")
        scopes = frozenset(claims.scope.split()) & allowed_scopes(is_superuser)
        return Caller(claims.sub, claims.sid, is_superuser, scopes)

    async def ensure_superuser(self, email: str, password: str) -> None:
        """Made when it is absent, and never changed; several workers may do so at once."""
        key = email_key(email)
        async with self._accounts.reading() as accounts:
            if await accounts.get_by_email(key):
                return
        password_hash = await self._passwords.hash(password)
        user = User(email=email, email_key=key, password_hash=password_hash, is_superuser=True)
        with suppress(Conflict):
            async with self._accounts.transaction() as accounts:
                await accounts.add(user)

    async def _sign_in(self, username: str, password: str, scope: str | None) -> TokenRead:
        refused = InvalidTokenRequest("invalid_grant", "The e-mail address or password is wrong.")
        async with self._accounts.reading() as accounts:
            user = await accounts.get_by_email(email_key(username))
        matches, new_hash = await self._passwords.verify(
            password, user.password_hash if user else None
        )
        if user is None or not matches:
            raise refused
        scopes = _requested_scopes(scope, allowed_scopes(user.is_superuser))
        async with self._accounts.transaction() as accounts:
            user = await accounts.get_unchanged(user)
            if user is None:
                raise refused
            if new_hash:
                user.password_hash = new_hash
            expires_at = utc_now() + self._session_lifetime
            session = await accounts.open_session(user, expires_at)
        return TokenRead(
            access_token=self._tokens.issue(user.id, session.id, scopes),
            expires_in=int(self._tokens.lifetime.total_seconds()),
            scope=" ".join(sorted(scopes)),
        )


def _requested_scopes(requested: str | None, allowed: frozenset[str]) -> frozenset[str]:
    scopes = frozenset((requested or "").split())
    if not scopes <= allowed:
        raise InvalidTokenRequest("invalid_scope", "The user may not have all of these scopes.")
    return scopes or allowed
