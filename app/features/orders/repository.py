from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.sql.base import ExecutableOption

from app.accounts.models import User
from app.accounts.ownership import lock_owner
from app.core.database.pagination import Position, Sort
from app.core.database.repository import Repository, Versions
from app.core.database.session import Session
from app.core.security.principal import Principal
from app.features.items.models import Item
from app.features.orders.models import WITH_LINES, WITH_LINES_AT_ONCE, Order, OrderStatus


class OrderRepository(Repository[Order]):
    """The orders of the principal, or of all users with the scope `orders:all`."""

    model = Order

    def __init__(self, session: Session, principal: Principal) -> None:
        super().__init__(session)
        self.principal = principal

    async def get(self, order_id: int) -> Order:
        """Return the order with its lines. Raise NotFound if the principal cannot see it."""
        statement = self._visible(lines=WITH_LINES_AT_ONCE).where(Order.id == order_id)
        found = (await self._session.scalars(statement)).unique().one_or_none()
        return self.require_found(found, order_id)

    async def lock(self, order_id: int, expected: Versions) -> Order:
        """Return the order, locked until the commit.

        Raise NotFound, or Stale if the version is none of those expected.
        """
        statement = self._visible().where(Order.id == order_id).with_for_update()
        order = self.require_found(await self.one_or_none(statement), order_id)
        self.require_version(order, expected)
        return order

    async def list(
        self, status: OrderStatus | None, sort: Sort, after: Position | None, limit: int
    ) -> Sequence[Order]:
        """Return the orders after a position, or the first orders, with their lines.

        The lines are read after the orders, and can be newer.
        """
        return await self.page(self._visible(status), sort, after, limit)

    async def total(self, status: OrderStatus | None, limit: int | None = None) -> int:
        """Count the orders, up to a limit."""
        return await self.count(self._visible(status), limit=limit)

    async def save(self, order: Order) -> Order:
        """Write the changes now, so that a violated constraint is raised here."""
        return await self.add(order)

    async def delete(self, order: Order) -> None:
        await self._session.delete(order)
        await self._session.flush()

    async def next_number(self) -> int:
        """Return the principal's next order number. Concurrent calls wait for each other."""
        owner_id = self.principal.user_id
        await lock_owner(self._session, owner_id)
        last = select(func.max(Order.number)).where(Order.owner_id == owner_id)
        return (await self._session.scalar(last) or 0) + 1

    async def items_by_id(self, owner_id: int, item_ids: Collection[int]) -> Mapping[int, Item]:
        """Return the items with the ids, as far as they are the owner's.

        They cannot be deleted before the commit, so that lines can refer to them.
        """
        statement = select(Item).where(Item.owner_id == owner_id, Item.id.in_(item_ids))
        locked = statement.order_by(Item.id).with_for_update(read=True, key_share=True)
        return {item.id: item for item in await self._session.scalars(locked)}

    async def newest_items(self, limit: int) -> Sequence[Item]:
        statement = select(Item).where(Item.owner_id == self.principal.user_id)
        statement = statement.order_by(Item.id.desc()).limit(limit)
        return (await self._session.scalars(statement)).all()

    def _visible(
        self, status: OrderStatus | None = None, lines: ExecutableOption = WITH_LINES
    ) -> Select[Order]:
        statement = select(Order).options(lines)
        if not self.principal.sees_all("orders"):
            statement = statement.where(Order.owner_id == self.principal.user_id)
        if status is not None:
            statement = statement.where(Order.status == status)
        return statement


class OrderMailRepository(Repository[Order]):
    """The orders of all users, for background jobs."""

    model = Order

    async def get_with_email(self, order_id: int) -> tuple[Order, str] | None:
        """Return the order and its owner's email address, or None if it was deleted."""
        statement = select(Order, User.email).join(User, Order.owner_id == User.id)
        statement = statement.where(Order.id == order_id).options(WITH_LINES)
        row = (await self._session.execute(statement)).one_or_none()
        return row and (row[0], row[1])
