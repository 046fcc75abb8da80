"""A form that makes something makes it once, however often it is sent: a double press, a retry."""

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
DONE = 303


def new_form() -> Form:
    """For a page to show; it has to send the hidden field `once` back."""
    return Form({FIELD: token_urlsafe(16)})


class SubmitOnce:
    """A form's idempotency key, since a browser puts other bytes around the fields each time.

    A person who goes back and sends something else makes something else.
    """

    def __init__(self, records: IdempotencyRepository) -> None:
        self._records = records

    async def is_first(self, principal: Principal, form: Form) -> bool:
        """Whether this is still to be done. Before anything else in its transaction: should that
        fail, the next is the first."""
        if not form.get(FIELD):
            return True
        content = sha256(json.dumps(form.values).encode())
        key = f"form {content.hexdigest()}"
        is_first = await self._records.reserve(principal.user_id, key, content.digest())
        if is_first:
            await self._records.store(principal.user_id, key, DONE, {}, b"")
        return is_first


async def get_submit_once(session: SessionDep) -> SubmitOnce:
    return SubmitOnce(IdempotencyRepository(session))


SubmitOnceDep = Annotated[SubmitOnce, Depends(get_submit_once)]
