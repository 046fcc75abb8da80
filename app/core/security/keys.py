"""Signing keys, derived from SECRET_KEY."""

import hmac


def derive_key(secret: str, purpose: str) -> bytes:
    """Return the key for one purpose, so that no other purpose accepts its signatures."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")
