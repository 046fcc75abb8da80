"""The passwords of accounts: hashed and checked in turn, and not more often than one may guess."""

from functools import partial

from pydantic import SecretStr

from app.accounts.models import User
from app.accounts.repository import Accounts
from app.accounts.service.attempts import Attempts
from app.core.database.repository import UnitsOfWork
from app.core.errors import Forbidden, NotFound
from app.core.security.fair_queue import FairQueue
from app.core.security.passwords import Passwords


class AccountPasswords:
    """No connection is held while a password is hashed. `turn` names whose turn that is."""

    def __init__(
        self,
        accounts: UnitsOfWork[Accounts],
        passwords: Passwords,
        hashing: FairQueue,
        attempts: Attempts,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._hashing = hashing
        self._attempts = attempts

    async def hash(self, password: SecretStr, turn: str) -> str:
        return await self._hashing.run(
            turn, partial(self._passwords.hash, password.get_secret_value())
        )

    async def check(self, user_id: int, password: SecretStr) -> User:
        """Return the user as they were checked. Raise Forbidden when the password is wrong."""
        await self._attempts.current_password(user_id)
        async with self._accounts.reading() as accounts:
            user = found(await accounts.users.get(user_id), user_id)
        verify = partial(self._passwords.verify, password.get_secret_value(), user.password_hash)
        matches, _ = await self._hashing.run(f"user {user_id}", verify)
        if not matches:
            raise wrong_password()
        return user


def wrong_password() -> Forbidden:
    return Forbidden("The current password is wrong.")


def found(user: User | None, who: int | str) -> User:
    """Return the user. Raise NotFound when there is none."""
    if user is None:
        raise NotFound(f"User Not Found ({'id' if isinstance(who, int) else 'email'}: {who})")
    return user
