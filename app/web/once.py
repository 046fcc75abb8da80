"""Forms that create something create it once, even if a browser submits them twice."""

import json
from hashlib import sha256
from secrets import token_urlsafe
from typing import Annotated

from fastapi import Depends

from app.core.database.dependencies import SessionDep
from app.core.http.idempotency_records import IdempotencyRepository
from app.core.security.principal import Principal
from app.web.forms import Form

FIELD = "once"
RECORDED_STATUS = 303


def new_form() -> Form:
    """Return an empty form with a token, which the page sends back in the hidden field `once`."""
    return Form({FIELD: token_urlsafe(16)})


class SubmitOnce:
    """Recognizes a form that is submitted again with the same values.

    The hash of the values is the idempotency key: a browser encodes the same values differently
    each time. A user who goes back and submits other values creates something else.
    """

    def __init__(self, records: IdempotencyRepository) -> None:
        self._records = records

    async def is_first(self, principal: Principal, form: Form) -> bool:
        """Record the submission, and return whether it is the first one.

        Call it before anything else in the transaction. If the transaction is rolled back, the next
        submission is the first one.
        """
        if not form.get(FIELD):
            return True
        content = sha256(json.dumps(form.values).encode())
        key = f"form {content.hexdigest()}"
        is_first = await self._records.reserve(principal.user_id, key, content.digest())
        if is_first:
            await self._records.store(principal.user_id, key, RECORDED_STATUS, {}, b"")
        return is_first


async def get_submit_once(session: SessionDep) -> SubmitOnce:
    return SubmitOnce(IdempotencyRepository(session))


SubmitOnceDep = Annotated[SubmitOnce, Depends(get_submit_once)]
