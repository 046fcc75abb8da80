from decimal import Decimal

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, Money, Timestamps, Versioned, sort_indexes


class Item(Owned, Timestamps, Versioned, Base):
    """An item for sale. Replace it with a resource of your own."""

    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 255", "name_length"),
        CheckConstraint("length(description) <= 10000", "description_length"),
        CheckConstraint("price >= 0", "price_not_negative"),
        CheckConstraint("version >= 1", "version_from_one"),
        # PostgreSQL also has trigram indexes for searches, which the migration creates.
        *sort_indexes("owner_id", "name", "price", "created_at", "updated_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Money)
    is_offer: Mapped[bool] = mapped_column(default=False)
