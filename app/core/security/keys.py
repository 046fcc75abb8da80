"""Keys for what the server signs."""

import hmac


def derive_key(secret: str, purpose: str) -> bytes:
    """A key of its own for each use, so that what one signs no other accepts."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")
