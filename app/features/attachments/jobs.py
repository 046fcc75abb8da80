"""Background jobs of attachments. A job can run twice."""

from app.core.jobs.schedule import scheduled
from app.core.resources import Resources
from app.features.attachments.dependencies import build_files


async def create_attachment_thumbnail(resources: Resources, attachment_id: int) -> None:
    await build_files(resources).create_thumbnail(attachment_id)


async def delete_attachment_files(resources: Resources, key: str) -> None:
    await build_files(resources).delete(key)


@scheduled("20 * * * *")
async def delete_orphaned_attachment_files(resources: Resources) -> None:
    await build_files(resources).delete_orphans()


JOBS = [create_attachment_thumbnail, delete_attachment_files, delete_orphaned_attachment_files]
