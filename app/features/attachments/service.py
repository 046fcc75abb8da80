from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO

from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, NotFound
from app.core.storage.images import THUMBNAIL_TYPE, UnusableImage, make_thumbnail
from app.core.storage.storage import Download, Storage, new_key
from app.core.storage.uploads import IMAGES, FileInfo, Upload, UploadRules
from app.features.attachments.models import FOLDER, THUMBNAIL, Attachment
from app.features.attachments.repository import AttachmentFileRepository, Attachments
from app.features.attachments.schemas import AttachmentRead
from app.features.items.schemas import ItemRead

MAX_PER_ITEM = 20
# Longer than any upload takes from the storing of its file to the commit of its row.
ORPHAN_AGE = timedelta(days=1)


class AttachmentService:
    """Rules of attachments.

    It has short units of work of its own, so that no connection is held while a file is stored.
    """

    def __init__(
        self, units: UnitsOfWork[Attachments], storage: Storage, rules: UploadRules, quota: int
    ) -> None:
        self._units = units
        self._storage = storage
        self.rules = rules
        self._quota = quota

    async def item(self, item_id: int) -> ItemRead:
        """Return the item whose attachments these are. Raise NotFound."""
        async with self._units.reading() as unit:
            return ItemRead.model_validate(await unit.attachments.get_item(item_id))

    async def list(self, item_id: int) -> Sequence[AttachmentRead]:
        """Return the attachments of an item. Raise NotFound if there is no such item."""
        async with self._units.reading() as unit:
            await unit.attachments.get_item(item_id)
            found = await unit.attachments.list(item_id)
        return [AttachmentRead.model_validate(each) for each in found]

    async def get(self, item_id: int, attachment_id: int) -> AttachmentRead:
        return AttachmentRead.model_validate(await self._get(item_id, attachment_id))

    async def create(self, item_id: int, upload: Upload) -> AttachmentRead:
        """Attach a file to an item. Raise NotFound, Invalid, TooLarge or Conflict."""
        async with self._units.reading() as unit:
            await unit.attachments.get_item(item_id)
        file = await self.rules.check(upload)
        key = new_key(FOLDER)
        await self._storage.put(key, upload.content)
        try:
            return await self._create_row(item_id, key, file)
        except (NotFound, Conflict):
            await self._storage.delete([key])
            raise

    async def delete(self, item_id: int, attachment_id: int) -> None:
        """Delete an attachment, and its file after the commit. Raise NotFound."""
        async with self._units.transaction() as unit:
            attachment = await unit.attachments.delete(item_id, attachment_id)
            await unit.jobs.enqueue("delete_attachment_files", attachment.key)

    async def file(self, item_id: int, attachment_id: int) -> Download:
        """Return the file to download. Raise NotFound."""
        found = await self._get(item_id, attachment_id)
        return Download(found.key, found.name, found.media_type, found.size, found.sha256)

    async def thumbnail(self, item_id: int, attachment_id: int) -> Download:
        """Return the thumbnail to download. Raise NotFound if there is none, or none yet."""
        found = await self._get(item_id, attachment_id)
        if found.thumbnail_size is None:
            raise NotFound("This attachment has no thumbnail.")
        tag = f"{found.sha256}{THUMBNAIL}"
        return Download(
            found.thumbnail_key, "thumbnail.webp", THUMBNAIL_TYPE, found.thumbnail_size, tag
        )

    async def _get(self, item_id: int, attachment_id: int) -> Attachment:
        async with self._units.reading() as unit:
            return await unit.attachments.get(item_id, attachment_id)

    async def _create_row(self, item_id: int, key: str, file: FileInfo) -> AttachmentRead:
        async with self._units.transaction() as unit:
            # The locks make the size and the number of attachments exact.
            owner_id = (await unit.attachments.get_item(item_id)).owner_id
            await unit.attachments.lock_owner(owner_id)
            if await unit.attachments.bytes_of(owner_id) + file.size > self._quota:
                raise Conflict(
                    "The attachments of an account have at most {limit:,} bytes together.",
                    limit=self._quota,
                )
            item = await unit.attachments.get_item(item_id, lock=True)
            if await unit.attachments.count_of(item_id) >= MAX_PER_ITEM:
                raise Conflict("An item has at most {limit} attachments.", limit=MAX_PER_ITEM)
            attachment = await unit.attachments.add(
                Attachment(
                    item_id=item_id,
                    owner_id=item.owner_id,
                    key=key,
                    name=file.name,
                    media_type=file.media_type,
                    size=file.size,
                    sha256=file.sha256,
                )
            )
            if file.media_type in IMAGES:
                await unit.jobs.enqueue("create_attachment_thumbnail", attachment.id)
            return AttachmentRead.model_validate(attachment)


class AttachmentFiles:
    """Background work on the files of attachments."""

    def __init__(self, units: UnitsOfWork[AttachmentFileRepository], storage: Storage) -> None:
        self._units = units
        self._storage = storage

    async def create_thumbnail(self, attachment_id: int) -> None:
        """Store the thumbnail of an image, or why there is none. It may have been deleted."""
        async with self._units.reading() as attachments:
            found = await attachments.get(attachment_id)
        if found is None:
            return
        chunks = [chunk async for chunk in self._storage.read(found.key, 0, found.size)]
        try:
            thumbnail = await make_thumbnail(b"".join(chunks))
        except UnusableImage as error:
            async with self._units.transaction() as attachments:
                await attachments.set_thumbnail_error(attachment_id, error.status)
            return
        await self._storage.put(found.thumbnail_key, BytesIO(thumbnail.content))
        async with self._units.transaction() as attachments:
            await attachments.set_thumbnail(attachment_id, thumbnail)

    async def delete(self, key: str) -> None:
        await self._storage.delete([key, f"{key}{THUMBNAIL}"])

    async def delete_orphans(self) -> None:
        """Delete the files that have had no row for a day.

        Their row was not committed, or was deleted with its item or its account.
        """
        async for page in self._storage.list(FOLDER):
            old = [each.key for each in page if utc_now() - each.stored_at > ORPHAN_AGE]
            async with self._units.reading() as attachments:
                existing = await attachments.existing({key.removesuffix(THUMBNAIL) for key in old})
            await self._storage.delete(
                [key for key in old if key.removesuffix(THUMBNAIL) not in existing]
            )
