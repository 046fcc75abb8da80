"""Checks and hashes of passwords, in turn, and within the limits on attempts."""

from collections.abc import Collection
from functools import partial

from pydantic import SecretStr

from app.accounts.models import EventKind, User
from app.accounts.repository import Accounts
from app.accounts.service.attempts import Attempts
from app.accounts.service.security_events import SecurityEventService
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Forbidden, Invalid, NotFound
from app.core.security.fair_queue import FairQueue
from app.core.security.passwords import Passwords, is_one_of
from app.core.security.principal import Principal


class AccountPasswords:
    """Checks and hashes passwords. `turn` names the network whose turn it is."""

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: Passwords,
        hashing: FairQueue,
        attempts: Attempts,
        security_events: SecurityEventService,
        *,
        site_names: Collection[str],
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._hashing = hashing
        self._attempts = attempts
        self._security_events = security_events
        self._site_names = site_names

    async def hash(
        self, password: SecretStr, email: str, turn: str, *, field: str = "password"
    ) -> str:
        """Return the hash. Raise Invalid, with the field's name, when the password is a name."""
        given = password.get_secret_value()
        if is_one_of((email, email.partition("@")[0], *self._site_names), given):
            raise Invalid(
                "Choose a password that is not your email address or the name of this site.",
                "body",
                field,
            )
        return await self._hashing.run(turn, partial(self._passwords.hash, given))

    async def check(self, user_id: int, password: SecretStr) -> User:
        """Return the user as they were checked. Raise Forbidden when the password is wrong."""
        await self._attempts.current_password(user_id)
        async with self._accounts.reading() as accounts:
            user = found(await accounts.users.get(user_id), user_id)
        if not user.has_password:
            raise Forbidden("Your account has no password. Set one by email on the account page.")
        verify = partial(self._passwords.verify, password.get_secret_value(), user.password_hash)
        matches, _ = await self._hashing.run(f"user {user_id}", verify)
        if not matches:
            await self._security_events.record_failure(EventKind.PASSWORD_CHECK, user_id=user_id)
            raise wrong_password()
        return user


def wrong_password() -> Forbidden:
    return Forbidden("The current password is wrong.")


async def lock_checked(accounts: Accounts, principal: Principal, seen: User) -> User:
    """Lock the user of a session, after `check` has returned them.

    Raise Forbidden if another request has changed the password meanwhile, or Unauthenticated if
    one has ended the session.
    """
    user = await accounts.lock_user_of(principal)
    if user.password_hash != seen.password_hash:
        raise wrong_password()
    return user


def found(user: User | None, who: int | str) -> User:
    """Return the user. Raise NotFound when there is none."""
    if user is None:
        raise NotFound(f"User Not Found ({'id' if isinstance(who, int) else 'email'}: {who})")
    return user


def require_verified(user: User) -> None:
    """Raise Forbidden without a confirmed address.

    Otherwise a person who signs up with the address of somebody else could keep a way into the
    account that its owner takes over by mail, or keep the owner out.
    """
    if not user.is_verified:
        raise Forbidden("Confirm your email address first.")
