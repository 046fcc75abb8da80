"""Keys that are derived from SECRET_KEY, one for each purpose."""

import hmac
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, MultiFernet


def derive_key(secret: str, purpose: str) -> bytes:
    """Return the key for one purpose, so that no other purpose accepts its signatures."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")


def build_cipher(purpose: str, *secrets: str) -> MultiFernet:
    """Return a cipher that encrypts with the first of the secrets, and decrypts with any."""
    keys = [urlsafe_b64encode(derive_key(secret, purpose)) for secret in secrets]
    return MultiFernet([Fernet(key) for key in keys])
