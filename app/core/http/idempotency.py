"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): retries get the first response.

The response is stored in the transaction of the request itself, so that both are committed or none.
An ApiRouter stores and replays the responses of its routes with this dependency:

    @router.post("", dependencies=[idempotent])
"""

import re
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from app.core.database.dependencies import SessionDep
from app.core.database.session import Session
from app.core.errors import InProgress, Invalid, KeyReused
from app.core.http.idempotency_records import IdempotencyRepository
from app.core.security.principal import Principal

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
BARE_KEY = re.compile(r"[!#-~][!-~]{0,254}")
QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')


class Idempotency:
    """The idempotency key of one request."""

    def __init__(self, request: Request, records: IdempotencyRepository, key: str) -> None:
        self._request = request
        self._records = records
        self._key = key
        self._is_reserved = False

    @property
    def _user_id(self) -> int:
        principal: Principal = self._request.scope["principal"]
        return principal.user_id

    async def replay(self) -> Response | None:
        """Reserve the key, and return None. If that was done before, return the first response.

        Call this before any other statement of the request.
        """
        fingerprint = await fingerprint_of(self._request)
        if await self._records.reserve(self._user_id, self._key, fingerprint):
            self._is_reserved = True
            return None
        record = await self._records.get(self._user_id, self._key)
        if record is None:
            raise InProgress("The first request with this key has just expired. Try again.")
        if record.fingerprint != fingerprint:
            raise KeyReused("The key was used with another request. Use a new key.", "header", KEY)
        return Response(record.body, record.status, {**record.headers, REPLAYED: "true"})

    async def store(self, response: Response) -> None:
        """Store the response, if it is a success and not a replay."""
        if self._is_reserved and 200 <= response.status_code < 300:
            values = response.status_code, dict(response.headers), bytes(response.body)
            await self._records.store(self._user_id, self._key, *values)


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=KEY,
        description="A unique value that you choose, for example a UUID. Retries with the same "
        "key within 24 hours return the first response. 1 to 255 visible ASCII characters, "
        "quoted or not.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


async def read_key(request: Request, session: SessionDep, key: IdempotencyKey = None) -> None:
    if not hasattr(request.scope["route"], "supports_idempotency"):
        raise TypeError("Idempotency-Key is for routes of an ApiRouter.")
    if key is not None:
        request.scope["idempotency"] = idempotency_of(request, session)


def idempotency_of(request: Request, session: Session) -> Idempotency:
    """Return the idempotency of a request that has a key, whose changes are made on the session."""
    # Repeated header fields are one list (RFC 9110, section 5.3).
    key = parse_key(", ".join(request.headers.getlist(KEY)))
    return Idempotency(request, IdempotencyRepository(session), key)


idempotent = Depends(read_key)


def parse_key(field: str) -> str:
    """Return the key. The draft quotes it, as a String of RFC 9651; most clients do not."""
    if quoted := QUOTED_KEY.fullmatch(field):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if BARE_KEY.fullmatch(field):
        return field
    detail = "Send 1 to 255 visible ASCII characters, quoted or not."
    raise Invalid(detail, "header", KEY)


async def fingerprint_of(request: Request) -> bytes:
    """Return a hash of the request's target and body, by which a retry is recognized."""
    target = f"{request.method} {request.url.path}?{request.url.query}\n"
    return sha256(target.encode() + await request.body()).digest()  # FastAPI has read the body.
