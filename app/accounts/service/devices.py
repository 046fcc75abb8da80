"""The browsers in which a user has signed in before. Strangers cannot lock the user out of them."""

import secrets
from datetime import timedelta

from app.core.security.seals import InvalidSeal, Seals

LIFETIME = timedelta(days=365)
ID_BYTES = 12


class Devices:
    """Issues a token for each browser, and recognizes it by the token.

    Wrong passwords and codes are counted for each device on its own. A token does not sign in, and
    is of no use for other accounts.
    """

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def issue(self, user_id: int, previous: str | None) -> str:
        """Return a token for the device, which stays the same one if it was known."""
        device = self.recognize(user_id, previous) or secrets.token_urlsafe(ID_BYTES)
        return self._seals.seal(user_id, device)

    def recognize(self, user_id: int, token: str | None) -> str:
        """Return the id of a device, or an empty text if the user has not signed in with it."""
        try:
            return self._seals.unseal(user_id, token or "", LIFETIME)
        except InvalidSeal:
            return ""
