"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retry does nothing twice, and
gets the first answer, which is stored in the transaction of what it tells of.

    router = APIRouter(..., route_class=IdempotentRoute)

    @router.post("")
    async def create_thing(..., idempotency: IdempotencyDep) -> Thing | Response:
        if replay := await idempotency.replay():
            return replay
"""

import re
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute

from app.core.database.dependencies import SessionDep
from app.core.errors import InProgress, Invalid
from app.core.http.idempotency_records import IdempotencyRepository
from app.core.security.principal import Principal

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
BARE = re.compile(r"[!#-~][!-~]{0,254}")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')


class Idempotency:
    """Of one request. Without a key it does nothing."""

    def __init__(self, request: Request, records: IdempotencyRepository, key: str | None) -> None:
        self._request = request
        self._records = records
        self._key = key

    async def replay(self) -> Response | None:
        """The first answer to the key, for the endpoint to return; None when it is to be made.

        Before anything else that the endpoint does with the database.
        """
        if self._key is None:
            return None
        principal: Principal = self._request.scope["principal"]
        fingerprint = await fingerprint_of(self._request)
        if await self._records.claim(principal.user_id, self._key, fingerprint):
            store = partial(self._records.store, principal.user_id, self._key)
            self._request.scope["store_answer"] = store
            return None
        record = await self._records.get(principal.user_id, self._key)
        if record is None:
            raise InProgress("The first request with this key has expired just now.")
        if record.fingerprint != fingerprint:
            raise Invalid("The key was used with another request.", "header", KEY)
        return Response(record.body, record.status, {**record.headers, REPLAYED: "true"})


class IdempotentRoute(APIRoute):
    """Here the answer is known to the byte, and the transaction still open."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_and_store(request: Request) -> Response:
            response = await handle(request)
            store = request.scope.get("store_answer")
            if store and 200 <= response.status_code < 300:
                await store(response.status_code, dict(response.headers), bytes(response.body))
            return response

        return handle_and_store


async def get_idempotency(
    request: Request,
    session: SessionDep,
    key: Annotated[
        str | None,
        Header(
            alias=KEY,
            description="Of your choice, for this request and its retries: for 24 hours they get"
            " the first answer again. 1 to 255 visible ASCII characters, quoted or not.",
            examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
        ),
    ] = None,
) -> Idempotency:
    if not isinstance(request.scope["route"], IdempotentRoute):
        raise TypeError("The router should have route_class=IdempotentRoute.")
    if key is not None:
        key = parse_key(", ".join(request.headers.getlist(KEY)))  # two fields are one (RFC 9110)
    return Idempotency(request, IdempotencyRepository(session), key)


IdempotencyDep = Annotated[Idempotency, Depends(get_idempotency)]


def parse_key(field: str) -> str:
    """The draft has it quoted, a String of RFC 9651; most clients send it bare."""
    if quoted := QUOTED.fullmatch(field):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if BARE.fullmatch(field):
        return field
    detail = "It should have 1 to 255 visible ASCII characters, quoted or not."
    raise Invalid(detail, "header", KEY)


async def fingerprint_of(request: Request) -> bytes:
    """Of the bytes: a retry sends the same ones, and no two bodies are taken for one."""
    target = f"{request.method} {request.url.path}?{request.url.query}\n"
    return sha256(target.encode() + await request.body()).digest()  # FastAPI has read it before
