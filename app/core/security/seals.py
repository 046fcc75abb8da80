"""Encrypted texts that are of use for one user and one purpose only."""

from base64 import urlsafe_b64encode
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.core.security.keys import derive_key


class InvalidSeal(ValueError):
    """A sealed text is forged, too old, of another user, or sealed with an unknown key."""


class Seals:
    """Encrypts with the first of the secrets, and decrypts with any, so that it can be replaced."""

    def __init__(self, purpose: str, *secrets: str) -> None:
        keys = [urlsafe_b64encode(derive_key(secret, purpose)) for secret in secrets]
        self._cipher = MultiFernet([Fernet(key) for key in keys])

    def seal(self, user_id: int, text: str) -> str:
        return self._cipher.encrypt(f"{user_id}:{text}".encode()).decode()

    def unseal(self, user_id: int, sealed: str, max_age: timedelta | None = None) -> str:
        """Return the text. Raise InvalidSeal if it was not sealed for the user, or too long ago."""
        ttl = None if max_age is None else int(max_age.total_seconds())
        try:
            given = self._cipher.decrypt(sealed.encode(), ttl).decode()
        except (InvalidToken, UnicodeEncodeError):
            raise InvalidSeal from None
        owner, _, text = given.partition(":")
        if owner != str(user_id):
            raise InvalidSeal
        return text

    def renew(self, sealed: str) -> str:
        """Encrypt a sealed text with the first of the secrets. Raise InvalidSeal."""
        try:
            return self._cipher.rotate(sealed).decode()
        except InvalidToken:
            raise InvalidSeal from None
