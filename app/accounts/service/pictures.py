"""The pictures of accounts: small copies of uploaded images, which the pages show in the menu."""

from datetime import timedelta
from io import BytesIO

from app.accounts.repository import Accounts
from app.accounts.service.passwords import found
from app.core.database.models import utc_now
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import NotFound
from app.core.security.principal import Principal
from app.core.storage.images import THUMBNAIL_TYPE, UnusableImage, make_thumbnail
from app.core.storage.storage import Download, Storage, new_key
from app.core.storage.uploads import ImageStatus, Upload, UploadRules

FOLDER = "pictures"  # of the storage
# Longer than any upload takes from the storing of its file to the commit.
ORPHAN_AGE = timedelta(days=1)


class PictureService:
    """Keeps a small copy of an image, without what a camera has written into it.

    A job makes the copy: to decode an image takes time and memory. The user has the picture of
    before meanwhile.
    """

    def __init__(
        self, accounts: UnitsOfWork[Accounts], storage: Storage, rules: UploadRules
    ) -> None:
        self._accounts = accounts
        self._storage = storage
        self.rules = rules

    async def upload(self, principal: Principal, upload: Upload) -> None:
        """Store an image, and queue the job that makes it the picture. Raise Invalid, TooLarge."""
        file = await self.rules.check(upload)
        key = new_key(FOLDER)
        await self._storage.put(key, upload.content)
        async with self._accounts.transaction() as accounts:
            user = found(await accounts.users.lock(principal.user_id), principal.user_id)
            await self._delete_files(accounts, user.picture_upload_key)
            user.picture_upload_key, user.picture_error = key, None
            await accounts.jobs.enqueue("create_picture", user.id, key, file.size)

    async def create(self, user_id: int, upload_key: str, size: int) -> None:
        """Make the picture of an upload, unless another upload or a removal came after it.

        After an image that cannot be used, the user has the picture of before, and its status says
        why. A background job calls it.
        """
        async with self._accounts.reading() as accounts:
            user = await accounts.users.get(user_id)
        if user is None or user.picture_upload_key != upload_key:
            return
        chunks = [chunk async for chunk in self._storage.read(upload_key, 0, size)]
        try:
            thumbnail = await make_thumbnail(b"".join(chunks))
        except UnusableImage as error:
            return await self._note_error(user_id, upload_key, error.status)
        key = new_key(FOLDER)
        await self._storage.put(key, BytesIO(thumbnail.content))
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(user_id)
            if user is None or user.picture_upload_key != upload_key:
                return await self._delete_files(accounts, key)
            user.picture_upload_key = None
            await self._delete_files(accounts, upload_key)
            await self._delete_files(accounts, user.picture_key)
            user.picture_key, user.picture_size = key, len(thumbnail.content)
            accounts.users.tell_change(user_id)

    async def _note_error(self, user_id: int, upload_key: str, status: ImageStatus) -> None:
        async with self._accounts.transaction() as accounts:
            user = await accounts.users.lock(user_id)
            if user is not None and user.picture_upload_key == upload_key:
                user.picture_upload_key, user.picture_error = None, status
                await self._delete_files(accounts, upload_key)

    async def get(self, principal: Principal) -> Download:
        """Return the picture to download. Raise NotFound if there is none, or none yet."""
        async with self._accounts.reading() as accounts:
            user = found(await accounts.users.get(principal.user_id), principal.user_id)
        if user.picture_key is None or user.picture_size is None:
            raise NotFound("This account has no picture.")
        tag = user.picture_key.removeprefix(f"{FOLDER}/")
        return Download(user.picture_key, "picture.webp", THUMBNAIL_TYPE, user.picture_size, tag)

    async def remove(self, principal: Principal) -> None:
        """Remove the picture, and an upload that is to become it. Do nothing if there is none."""
        async with self._accounts.transaction() as accounts:
            user = found(await accounts.users.lock(principal.user_id), principal.user_id)
            await self._delete_files(accounts, user.picture_key)
            await self._delete_files(accounts, user.picture_upload_key)
            user.picture_key = user.picture_size = None
            user.picture_upload_key = user.picture_error = None
            accounts.users.tell_change(user.id)

    async def delete_file(self, key: str) -> None:
        """Delete a file of a picture. A background job calls it."""
        await self._storage.delete([key])

    async def delete_orphans(self) -> None:
        """Delete the files that have belonged to no account for a day.

        A process has died before it could commit, or the account was deleted by SQL.
        """
        async for page in self._storage.list(FOLDER):
            old = [each.key for each in page if utc_now() - each.stored_at > ORPHAN_AGE]
            async with self._accounts.reading() as accounts:
                existing = await accounts.users.existing_picture_keys(old)
            await self._storage.delete([key for key in old if key not in existing])

    async def _delete_files(self, accounts: Accounts, key: str | None) -> None:
        if key is not None:
            await accounts.jobs.enqueue("delete_picture_file", key)
