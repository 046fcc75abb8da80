from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, UtcDateTime, utc_now
from app.core.storage.uploads import IMAGES, ImageStatus
from app.features.items.models import Item

FOLDER = "attachments"  # of the storage
THUMBNAIL = "-thumbnail"  # what the key of a thumbnail has after that of its image


class Attachment(Owned, Base):
    """A file of an item. Its content is in the storage.

    It belongs to the owner of the item, and is deleted with the item or the account.
    """

    __tablename__ = "attachments"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 255", "name_length"),
        CheckConstraint("size >= 1", "size_from_one"),
        Index(None, "item_id", "id"),
        Index(None, "owner_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey(Item.id, ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str] = mapped_column(String(255))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    # Of an image, from the job that makes its thumbnail.
    width: Mapped[int | None]
    height: Mapped[int | None]
    thumbnail_size: Mapped[int | None]
    # Why there is no thumbnail of an image.
    thumbnail_error: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    @property
    def thumbnail_key(self) -> str:
        return f"{self.key}{THUMBNAIL}"

    @property
    def has_thumbnail(self) -> bool:
        return self.thumbnail_size is not None

    @property
    def thumbnail_status(self) -> ImageStatus:
        if self.thumbnail_error is not None:
            return ImageStatus(self.thumbnail_error)
        if self.has_thumbnail:
            return ImageStatus.READY
        return ImageStatus.PENDING if self.media_type in IMAGES else ImageStatus.NONE
