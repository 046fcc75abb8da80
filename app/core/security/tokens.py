"""Access tokens, which are signed JWTs that name a user, a session and its scopes; and hashes."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal
from uuid import UUID, uuid4

from jose import jwk, jwt
from pydantic import BaseModel, Field

from app.core.errors import Unauthenticated
from app.core.schemas import MAX_ID
from app.core.security.keys import derive_key

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "app"
MAX_TOKEN_BYTES = 4096


def digest(token: str) -> str:
    """Return the hash of a token. Since it is random, a fast hash protects it as well."""
    return sha256(token.encode(errors="replace")).hexdigest()


def key_id(key: str) -> str:
    """Return the public name of a key."""
    return derive_key(key, "key id")[:8].hex()


class AccessClaims(BaseModel):
    """The claims of an access token.

    All are required here, since python-jose accepts a token without `exp` or `aud`.
    """

    iss: Literal["app"]
    aud: Literal["app"]
    sub: Annotated[int, Field(ge=1, le=MAX_ID)]
    iat: int
    exp: int
    jti: UUID
    scope: str
    sid: UUID
    typ: Literal["access"]


class AccessTokens:
    """Issue access tokens with a key, and read those of the previous key, too.

    A token names its key (`kid`, RFC 7515), so that the key can be replaced while tokens are used.
    """

    def __init__(self, key: str, lifetime: timedelta, previous_key: str | None = None) -> None:
        # Constructed once, and from bytes: python-jose takes some text keys for JSON or PEM.
        self._keys = {
            key_id(each): jwk.construct(each.encode(), ALGORITHM)
            for each in (key, previous_key)
            if each
        }
        self._key_id = key_id(key)
        self.lifetime = lifetime

    def issue(self, user_id: int, session_id: UUID, scopes: frozenset[str]) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "iat": now,
            "exp": now + self.lifetime,
            "jti": str(uuid4()),
            "scope": " ".join(sorted(scopes)),
            "sid": str(session_id),
            "typ": "access",
        }
        return jwt.encode(claims, self._keys[self._key_id], ALGORITHM, {"kid": self._key_id})

    def read(self, token: str) -> AccessClaims:
        """Return the claims of a token. Raise Unauthenticated when it is invalid or expired."""
        try:
            if len(token) > MAX_TOKEN_BYTES:
                raise ValueError("too long")
            key = self._keys[jwt.get_unverified_header(token).get("kid", self._key_id)]
            claims = jwt.decode(token, key, [ALGORITHM], audience=AUDIENCE, issuer=ISSUER)
            return AccessClaims.model_validate(claims)
        except Exception as error:  # python-jose raises RecursionError too, for nested brackets.
            raise Unauthenticated("The access token is invalid or has expired.") from error
