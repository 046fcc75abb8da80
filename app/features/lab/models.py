"""A second mapping of the tables of users and items, with relationships that load lazily.

`app.features.items` maps `items` without a relationship to its owner. This mapping has a `Base`,
and so a metadata, of its own, where a table can be mapped again. Alembic compares only the metadata
of `app.core.database.models`.
"""

from decimal import Decimal

from sqlalchemy import BigInteger, ForeignKey, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from app.core.database.models import Id, Money, Timestamps


class Base(DeclarativeBase): ...


class User(Base):
    """The columns of a user that the lab reads."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))

    # Both relationships load lazily, each with a query of its own at the first access. The steps
    # start from this default of SQLAlchemy; the rest of the application has lazy="raise".
    items: Mapped[list["Item"]] = relationship(back_populates="owner", order_by="Item.id")


class Item(Timestamps, Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    price: Mapped[Decimal] = mapped_column(Money)
    is_offer: Mapped[bool] = mapped_column(default=False)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    version: Mapped[int] = mapped_column(BigInteger, default=1, onupdate=text("version + 1"))

    owner: Mapped[User] = relationship(back_populates="items")
