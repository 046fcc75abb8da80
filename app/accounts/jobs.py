"""The slice's background jobs. They carry ids, and may run twice: see `app/core/jobs/queue.py`.

A mail is in the language of the request that caused it.
"""

from uuid import UUID

from app.core.jobs.schedule import scheduled
from app.core.resources import Resources
from app.core.translation import ENGLISH, use_language


async def send_token_mail(resources: Resources, token_id: str, language: str = ENGLISH) -> None:
    with use_language(language):
        await resources.accounts.emails.send_token_mail(UUID(token_id))


async def send_notice(resources: Resources, kind: str, email: str, language: str = ENGLISH) -> None:
    with use_language(language):
        await resources.accounts.emails.send_notice_mail(kind, email)


async def request_mail(
    resources: Resources, purpose: str, email: str, language: str = ENGLISH
) -> None:
    with use_language(language):
        await resources.accounts.emails.start(purpose, email)


async def create_picture(resources: Resources, user_id: int, upload_key: str, size: int) -> None:
    await resources.accounts.pictures.create(user_id, upload_key, size)


async def delete_picture_file(resources: Resources, key: str) -> None:
    await resources.accounts.pictures.delete_file(key)


@scheduled("25 * * * *")
async def delete_orphaned_picture_files(resources: Resources) -> None:
    await resources.accounts.pictures.delete_orphans()


@scheduled("40 * * * *")
async def clean_up(resources: Resources) -> None:
    """Delete sessions, keys, email tokens, events and other records that are over."""
    await resources.accounts.auth.clean_up()


JOBS = [
    send_token_mail,
    send_notice,
    request_mail,
    create_picture,
    delete_picture_file,
    delete_orphaned_picture_files,
    clean_up,
]
