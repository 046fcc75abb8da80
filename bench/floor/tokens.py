"""Verifies the project's access tokens without a library, and caches the verified ones."""

import hmac
import json
import os
import time
from base64 import urlsafe_b64decode
from typing import Any, NamedTuple
from uuid import UUID

CACHE_SIZE = 10_000
REQUIRED_CLAIMS = {"iss": "app", "aud": "app", "typ": "access"}


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Principal(NamedTuple):
    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    expires_at: int


_key = os.environ["SECRET_KEY"].encode()
_verified: dict[str, Principal] = {}


def read_token(authorization: str | None, scope: str) -> Principal:
    """Return the principal of a token with the scope. Raise Refused.

    The statements check the session.
    """
    principal = _verified.get(authorization or "") or _verify(authorization or "")
    if principal.expires_at <= time.time():
        raise Refused(401)
    if scope not in principal.scopes:
        raise Refused(403)
    return principal


def _verify(authorization: str) -> Principal:
    try:
        scheme, token = authorization.split()
        signed, _, signature = token.rpartition(".")
        header, payload = signed.split(".")
        claims = _decode(payload)
        expected = hmac.digest(_key, signed.encode(), "sha256")
        if (
            scheme.lower() != "bearer"
            or not hmac.compare_digest(expected, _bytes(signature))
            or _decode(header)["alg"] != "HS256"
            or REQUIRED_CLAIMS.items() - claims.items()
        ):
            raise Refused(401)
        principal = Principal(
            int(claims["sub"]),
            UUID(claims["sid"]),
            frozenset(claims["scope"].split()),
            int(claims["exp"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(401) from error
    if len(_verified) >= CACHE_SIZE:
        _verified.clear()
    _verified[authorization] = principal
    return principal


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _decode(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(_bytes(text))
    return decoded
