from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship, selectinload

from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, Money, Timestamps, UtcDateTime
from app.core.database.pagination import PARENTS_AT_ONCE
from app.features.items.models import Item


class OrderStatus(StrEnum):
    DRAFT = "draft"
    PLACED = "placed"
    SHIPPED = "shipped"


# A VARCHAR with a CHECK constraint. PostgreSQL's own enums are types that migrations would have to
# create, alter and drop beside the tables, and SQLite has none.
Status = Enum(
    OrderStatus,
    name="status",
    native_enum=False,
    create_constraint=True,
    length=20,
    values_callable=lambda statuses: [status.value for status in statuses],
)


class Order(Owned, Timestamps, Base):
    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("owner_id", "number"),
        CheckConstraint("number >= 1", "number_from_one"),
        CheckConstraint("length(note) <= 1000", "note_length"),
        CheckConstraint("(placed_at IS NULL) = (status = 'draft')", "placed_at_matches_status"),
        CheckConstraint("version >= 1", "version_from_one"),
        Index(None, "owner_id", "id"),
        Index(None, "owner_id", "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    number: Mapped[int]
    status: Mapped[OrderStatus] = mapped_column(Status, default=OrderStatus.DRAFT)
    note: Mapped[str | None] = mapped_column(String(1000))
    placed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(BigInteger)

    lines: Mapped[list["OrderLine"]] = relationship(
        lazy="raise",
        order_by="OrderLine.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    # SQLAlchemy increases the version with each UPDATE of the row.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - an instance variable of Base

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal("0.00"))


class OrderLine(Owned, Base):
    """A quantity of one item, at the price that the item had when the line was added.

    A line has an owner as well. When an account is deleted, PostgreSQL deletes in turn from each
    table that refers to the account, and only then checks that no line refers to a deleted item. A
    line that went along with its order only would be deleted after that check.
    """

    __tablename__ = "order_lines"
    __table_args__ = (
        UniqueConstraint("order_id", "item_id"),
        CheckConstraint("quantity BETWEEN 1 AND 1000", "quantity_in_range"),
        CheckConstraint("unit_price >= 0", "unit_price_not_negative"),
        Index(None, "owner_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id, ondelete="CASCADE"))
    # NO ACTION, the default: an item with lines cannot be deleted. Unlike RESTRICT, which SQLite
    # checks at once, it lets an account's items and lines go in one statement.
    item_id: Mapped[int] = mapped_column(ForeignKey(Item.id), index=True)
    position: Mapped[int]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Money)

    item: Mapped[Item] = relationship(lazy="raise")

    @property
    def item_name(self) -> str:
        return self.item.name

    @property
    def total(self) -> Decimal:
        return self.quantity * self.unit_price


# Loads an order with its lines in one statement. Between two, another request could change them,
# and the order would have one version and the lines another.
WITH_LINES_AT_ONCE = joinedload(Order.lines).joinedload(OrderLine.item)
# Loads the lines of a page of orders, and their items, with one more statement for each 25 orders.
WITH_LINES = selectinload(Order.lines, chunksize=PARENTS_AT_ONCE).joinedload(OrderLine.item)
