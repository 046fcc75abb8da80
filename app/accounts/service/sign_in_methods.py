"""The ways in which users sign in: a password, and what features add."""

from collections.abc import Sequence

from app.accounts.models import User
from app.accounts.repository import Accounts, SignInMethod
from app.core.errors import Conflict


class SignInMethods:
    def __init__(self, methods: Sequence[SignInMethod]) -> None:
        self._methods = methods

    async def require_any(self, accounts: Accounts, user: User) -> None:
        """Raise Conflict if the user could not sign in any more without a mail."""
        if not await accounts.users.can_sign_in(user, self._methods):
            raise Conflict("This is your only way to sign in. Set a password first.")
