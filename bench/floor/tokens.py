"""The project's access tokens, read by hand: HS256, the claims, a cache of what was verified."""

import hmac
import json
import os
import time
from base64 import urlsafe_b64decode
from typing import Any, NamedTuple
from uuid import UUID

CACHED = 10_000
EXPECTED = {"iss": "app", "aud": "app", "typ": "access"}


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Caller(NamedTuple):
    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    expires_at: int


_key = os.environ["SECRET_KEY"].encode()
_verified: dict[str, Caller] = {}


def read(authorization: str | None, scope: str) -> Caller:
    """Whether the session still stands is the statement's to say."""
    caller = _verified.get(authorization or "") or _verify(authorization or "")
    if caller.expires_at <= time.time():
        raise Refused(401)
    if scope not in caller.scopes:
        raise Refused(403)
    return caller


def _verify(authorization: str) -> Caller:
    try:
        scheme, token = authorization.split()
        signed, _, signature = token.rpartition(".")
        header, payload = signed.split(".")
        claims = _decode(payload)
        right = hmac.digest(_key, signed.encode(), "sha256")
        if (
            scheme.lower() != "bearer"
            or not hmac.compare_digest(right, _bytes(signature))
            or _decode(header)["alg"] != "HS256"
            or EXPECTED.items() - claims.items()
        ):
            raise Refused(401)
        caller = Caller(
            int(claims["sub"]),
            UUID(claims["sid"]),
            frozenset(claims["scope"].split()),
            int(claims["exp"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(401) from error
    if len(_verified) >= CACHED:
        _verified.clear()
    _verified[authorization] = caller
    return caller


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _decode(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(_bytes(text))
    return decoded
