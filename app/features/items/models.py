from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, Money, Timestamps

SORTS = ("name", "price", "created_at", "updated_at")


class Item(Owned, Timestamps, Base):
    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 255", "name_length"),
        CheckConstraint("length(description) <= 10000", "description_length"),
        CheckConstraint("price >= 0", "price_not_negative"),
        CheckConstraint("version >= 1", "version_from_one"),
        # One for each sort of a list: a page is read off it, however many items there are. For
        # searches PostgreSQL has indexes of trigrams, which only the migration knows.
        Index(None, "owner_id", "id"),
        *(Index(None, "owner_id", name, "id") for name in SORTS),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Money)
    is_offer: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
