"""The slice's background jobs. They carry ids, and may run twice: see `app/core/jobs/jobs.py`."""

from uuid import UUID

from app.core.resources import Resources


async def send_token_mail(resources: Resources, token_id: str) -> None:
    await resources.accounts.emails.send_token_mail(UUID(token_id))


async def send_change_notice(resources: Resources, old_email: str) -> None:
    await resources.accounts.emails.send_notice(old_email)


async def request_mail(resources: Resources, purpose: str, email: str) -> None:
    await resources.accounts.emails.start(purpose, email)


async def touch_session(resources: Resources, session_id: str) -> None:
    await resources.accounts.browsers.touch(UUID(session_id))


JOBS = [send_token_mail, send_change_notice, request_mail, touch_session]
