"""Passwords and access tokens."""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal, TypeVar
from uuid import UUID, uuid4

from anyio import CapacityLimiter, to_thread
from jose import jwk, jwt
from passlib.context import CryptContext
from pydantic import BaseModel, Field

from app.core.database.models import MAX_ID
from app.core.errors import Unauthenticated

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "app"
MAX_TOKEN_BYTES = 4096
MAX_PASSWORD_CHARACTERS = 128

ResultT = TypeVar("ResultT")


def derive_key(secret: str, purpose: str) -> bytes:
    """A key of its own for each use, so that what one signs no other accepts."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request."""

    user_id: int
    session_id: UUID
    scopes: frozenset[str]
    is_superuser: bool


class AccessClaims(BaseModel):
    """All of them are required: python-jose lets a token without `exp` or `aud` pass."""

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
    def __init__(self, key: str, lifetime: timedelta) -> None:
        # Made once, and from bytes: as text, python-jose takes some keys for JSON or PEM.
        self._key = jwk.construct(key.encode(), ALGORITHM)
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
        return jwt.encode(claims, self._key, ALGORITHM)

    def read(self, token: str, *, also_expired: bool = False) -> AccessClaims:
        options = {"verify_exp": not also_expired}
        try:
            if len(token) > MAX_TOKEN_BYTES:
                raise ValueError("too long")
            claims = jwt.decode(
                token, self._key, [ALGORITHM], options, audience=AUDIENCE, issuer=ISSUER
            )
            return AccessClaims.model_validate(claims)
        except Exception as error:  # python-jose raises RecursionError too, on nested brackets
            raise Unauthenticated("The access token is invalid or has expired.") from error


def is_encodable(text: str) -> bool:
    """Lone surrogates are not: neither a hash nor a database takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Passwords:
    """argon2id, in a bounded number of threads of one lane each: more would take the cores that
    the event loop needs, and be done no sooner."""

    def __init__(self, threads: int) -> None:
        self._context = CryptContext(["argon2"], argon2__parallelism=1)
        self._limiter = CapacityLimiter(threads)

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._context.hash, password))

    async def verify(self, password: str, hash_: str | None) -> tuple[bool, str | None]:
        """Whether it matches, and a new hash where the old one has fallen behind.

        Without a hash it takes the same time, so that nobody learns who has an account.
        """
        if len(password) > MAX_PASSWORD_CHARACTERS or not is_encodable(password):
            password, hash_ = "", None
        return await self._run(partial(self._context.verify_and_update, password, hash_))

    async def _run(self, call: Callable[[], ResultT]) -> ResultT:
        # Shielded, since a thread goes on when its caller is cancelled, and has to count.
        running = asyncio.ensure_future(to_thread.run_sync(call, limiter=self._limiter))
        return await asyncio.shield(running)
