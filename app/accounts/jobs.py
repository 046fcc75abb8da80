"""The slice's background jobs. They carry ids, and may run twice: see `app/core/jobs/jobs.py`."""

from uuid import UUID

from starlette.datastructures import State


async def send_token_mail(state: State, token_id: str) -> None:
    await state.emails.send_token_mail(UUID(token_id))


async def send_change_notice(state: State, old_email: str) -> None:
    await state.emails.send_notice(old_email)


async def request_mail(state: State, purpose: str, email: str) -> None:
    await state.emails.start(purpose, email)


async def touch_session(state: State, session_id: str) -> None:
    await state.browsers.touch(UUID(session_id))


JOBS = [send_token_mail, send_change_notice, request_mail, touch_session]
