"""The application's own tables, mapped once more, by a `Base` of the lab's own.

`app.features.items` maps `items` already, but features do not know each other, and its `Item` has
no `owner`. In another metadata a table can be there a second time. Alembic compares the metadata
of `app.core.database.models`, and never sees this one.
"""

from decimal import Decimal

from sqlalchemy import BigInteger, ForeignKey, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from app.core.database.models import Id, Money, Timestamps


class Base(DeclarativeBase): ...


class User(Base):
    """What the lab reads of one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))

    # Both load when they are first looked at, by a query of their own: SQLAlchemy's default, and
    # what the steps begin with. The rest of the application has lazy="raise".
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
