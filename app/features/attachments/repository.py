from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, delete, func, select, update

from app.accounts.ownership import lock_owner
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.errors import NotFound
from app.core.jobs.queue import JobQueue
from app.core.security.principal import Principal
from app.core.storage.images import Thumbnail
from app.core.storage.uploads import ImageStatus
from app.features.attachments.models import Attachment
from app.features.items.models import Item


class AttachmentRepository(Repository[Attachment]):
    """The attachments of the principal's items. The scope `items:all` adds those of all users."""

    model = Attachment

    def __init__(self, session: Session, principal: Principal) -> None:
        super().__init__(session)
        self._principal = principal

    async def get_item(self, item_id: int, *, lock: bool = False) -> Item:
        """Return the item. Raise NotFound."""
        statement = select(Item).where(Item.id == item_id, *self._visible(Item))
        item: Item | None = await self._session.scalar(
            statement.with_for_update() if lock else statement
        )
        if item is None:
            raise NotFound(f"Item Not Found (id: {item_id})")
        return item

    async def list(self, item_id: int) -> Sequence[Attachment]:
        """Return the attachments of an item that is visible, oldest first."""
        statement = select(Attachment).where(Attachment.item_id == item_id)
        return (await self._session.scalars(statement.order_by(Attachment.id))).all()

    async def count_of(self, item_id: int) -> int:
        return await self.count(select(Attachment).where(Attachment.item_id == item_id))

    async def lock_owner(self, owner_id: int) -> None:
        await lock_owner(self._session, owner_id)

    async def bytes_of(self, owner_id: int) -> int:
        """Return the size of all attachments of an owner."""
        sizes = select(func.sum(Attachment.size)).where(Attachment.owner_id == owner_id)
        return int(await self._session.scalar(sizes) or 0)

    async def get(self, item_id: int, id_: int) -> Attachment:
        """Return the attachment. Raise NotFound."""
        found = await self.one_or_none(select(Attachment).where(*self._one(item_id, id_)))
        return self.require_found(found, id_)

    async def delete(self, item_id: int, id_: int) -> Attachment:
        """Delete the attachment, and return it as it was. Raise NotFound."""
        statement = delete(Attachment).where(*self._one(item_id, id_)).returning(Attachment)
        return self.require_found(await self.one_or_none(statement), id_)

    def _one(self, item_id: int, id_: int) -> Sequence[ColumnElement[bool]]:
        visible = self._visible(Attachment)
        return [Attachment.id == id_, Attachment.item_id == item_id, *visible]

    def _visible(self, model: type[Item | Attachment]) -> Sequence[ColumnElement[bool]]:
        sees_all = self._principal.sees_all(Item.__tablename__)
        return [] if sees_all else [model.owner_id == self._principal.user_id]


class Attachments:
    """The repository and the queue of jobs, in one session."""

    def __init__(self, session: Session, principal: Principal) -> None:
        self.attachments = AttachmentRepository(session, principal)
        self.jobs = JobQueue(session)


class AttachmentFileRepository(Repository[Attachment]):
    """The attachments of all users, for background jobs."""

    model = Attachment

    async def get(self, id_: int) -> Attachment | None:
        return await self.one_or_none(select(Attachment).where(Attachment.id == id_))

    async def set_thumbnail(self, id_: int, thumbnail: Thumbnail) -> None:
        values = {
            "width": thumbnail.width,
            "height": thumbnail.height,
            "thumbnail_size": len(thumbnail.content),
            "thumbnail_error": None,
        }
        await self._session.execute(update(Attachment).where(Attachment.id == id_).values(values))

    async def set_thumbnail_error(self, id_: int, error: ImageStatus) -> None:
        statement = update(Attachment).where(Attachment.id == id_)
        await self._session.execute(statement.values(thumbnail_error=error))

    async def existing(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys that attachments have."""
        return {
            *await self._session.scalars(select(Attachment.key).where(Attachment.key.in_(keys)))
        }
