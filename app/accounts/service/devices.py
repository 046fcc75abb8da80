"""The browsers in which a user has signed in before, which have a count of wrong passwords."""

from datetime import timedelta

from app.accounts.models import User
from app.core.security.seals import InvalidSeal, Seals

LIFETIME = timedelta(days=365)
MAX_TOKEN_CHARACTERS = 500


class Devices:
    """Issues a token for each browser, and recognizes it by the token.

    The wrong passwords and codes of a user's devices are counted together, apart from those of
    strangers, who so cannot lock the user out of them. A token does not sign in, and is of no use
    for other accounts.
    """

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def issue(self, user: User) -> str:
        # SQLite gives the id of a deleted user again, but not with the same time.
        return self._seals.seal(user.id, user.created_at.isoformat())

    def is_known(self, user: User | None, token: str | None) -> bool:
        """Return whether the user has signed in with a device.

        It takes the same time without a user: it must not tell whether an address has an account.
        """
        if token is None or len(token) > MAX_TOKEN_CHARACTERS:
            return False
        try:
            created_at = self._seals.unseal(user.id if user else 0, token, LIFETIME)
        except InvalidSeal:
            return False
        return user is not None and created_at == user.created_at.isoformat()
