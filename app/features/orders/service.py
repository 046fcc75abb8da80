from collections.abc import Sequence

from pydantic import MISSING

from app.core.database.events import Events
from app.core.database.models import utc_now
from app.core.database.pagination import Cursors, Page, Sort, read_in_turns
from app.core.database.repository import Versions
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import Conflict, Forbidden, Invalid, WrongStatus
from app.core.jobs.mail import Mailer
from app.core.jobs.queue import JobQueue
from app.core.translation import current_language, mark
from app.features.items.schemas import ItemRead
from app.features.orders.events import OrderEvent, OrderEventType
from app.features.orders.models import Order, OrderLine, OrderStatus
from app.features.orders.repository import OrderMailRepository, OrderRepository
from app.features.orders.schemas import (
    OrderCreate,
    OrderLineInput,
    OrderQuery,
    OrderRead,
    OrderUpdate,
)

MAX_MAILS_PER_HOUR = 1000
CANNOT_CHANGE = mark('An order with the status "{status}" cannot be changed.')
CANNOT_DELETE = mark('An order with the status "{status}" cannot be deleted.')
CANNOT_PLACE = mark('An order with the status "{status}" cannot be placed.')
CANNOT_SHIP = mark('An order with the status "{status}" cannot be shipped.')


class OrderService:
    """Rules of orders. A draft can be changed and deleted until it is placed, and then shipped."""

    def __init__(
        self, orders: OrderRepository, cursors: Cursors, jobs: JobQueue, events: Events
    ) -> None:
        self._orders = orders
        self._cursors = cursors
        self._jobs = jobs
        self._events = events

    async def list(self, query: OrderQuery) -> Page[OrderRead]:
        sort = Sort(query.sort)
        after = self._cursors.read(query.cursor, sort)
        orders = await self._orders.list(query.status, sort, after, query.limit + 1)
        total = None
        if query.with_total:
            total = await self._orders.total(query.status, query.total_limit)
        reads = await read_in_turns(OrderRead, orders)
        return self._cursors.page(Page[OrderRead], reads, query.limit, sort, total)

    async def get(self, order_id: int) -> OrderRead:
        return OrderRead.model_validate(await self._orders.get(order_id))

    async def create(self, data: OrderCreate) -> OrderRead:
        """Create a draft. Raise Invalid if the item of a line is not one of the principal's."""
        owner_id, number = self._orders.principal.user_id, await self._orders.next_number()
        order = Order(owner_id=owner_id, number=number, note=data.note, lines=[])
        await self._set_lines(order, data.lines)
        return await self._save("order.created", order)

    async def update(self, order_id: int, data: OrderUpdate, expected: Versions) -> OrderRead:
        """Change a draft. Raise NotFound, Stale, WrongStatus, or Invalid as `create` does."""
        order = await self._orders.lock(order_id, expected)
        require(order, OrderStatus.DRAFT, CANNOT_CHANGE)
        if data.lines is not MISSING:
            await self._set_lines(order, data.lines)
        if data.note is not MISSING:  # After the query for the items, which would write it.
            order.note = data.note
        if not data.model_fields_set:
            return OrderRead.model_validate(order)
        order.updated_at = utc_now()  # A change of the lines is a change of the order.
        return await self._save("order.updated", order)

    async def delete(self, order_id: int, expected: Versions) -> None:
        """Delete a draft. Raise NotFound, Stale or WrongStatus."""
        order = await self._orders.lock(order_id, expected)
        require(order, OrderStatus.DRAFT, CANNOT_DELETE)
        self._record("order.deleted", order)
        await self._orders.delete(order)

    async def place(self, order_id: int, expected: Versions) -> OrderRead:
        """Place a draft, and mail the owner. Raise NotFound, Stale or Conflict."""
        order = await self._orders.lock(order_id, expected)
        require(order, OrderStatus.DRAFT, CANNOT_PLACE)
        if not order.lines:
            raise Conflict("An order without lines cannot be placed.")
        order.status, order.placed_at = OrderStatus.PLACED, utc_now()
        await self._jobs.enqueue("send_order_mail", order.id, current_language().tag)
        return await self._save("order.placed", order)

    async def ship(self, order_id: int, expected: Versions) -> OrderRead:
        """Ship a placed order. Raise Forbidden, NotFound, Stale or WrongStatus."""
        if not self._orders.principal.sees_all("orders"):
            raise Forbidden("Shipping an order requires the scope orders:all.")
        order = await self._orders.lock(order_id, expected)
        require(order, OrderStatus.PLACED, CANNOT_SHIP)
        order.status = OrderStatus.SHIPPED
        return await self._save("order.shipped", order)

    async def newest_items(self, limit: int) -> Sequence[ItemRead]:
        """Return the items that the principal can order, newest first."""
        return [ItemRead.model_validate(item) for item in await self._orders.newest_items(limit)]

    async def _save(self, type_: OrderEventType, order: Order) -> OrderRead:
        return self._record(type_, await self._orders.save(order))

    def _record(self, type_: OrderEventType, order: Order) -> OrderRead:
        read = OrderRead.model_validate(order)
        event = OrderEvent(
            type=type_, order_id=read.id, version=read.version, owner_id=read.owner_id, data=read
        )
        self._events.record(event)
        return read

    async def _set_lines(self, order: Order, wanted: Sequence[OrderLineInput]) -> None:
        """Replace the lines. A line whose item was in the order before keeps its price."""
        items = await self._orders.items_by_id(order.owner_id, [line.item_id for line in wanted])
        before = {line.item_id: line for line in order.lines}
        lines = dict[int, OrderLine]()
        for position, each in enumerate(wanted):
            item = items.get(each.item_id)
            if item is None:
                raise Invalid(
                    "There is no item with the id {id}.", *line_at(position), id=each.item_id
                )
            if item.id in lines:
                raise Invalid(
                    "The item {id} is in another line already.", *line_at(position), id=item.id
                )
            line = before.get(item.id) or OrderLine(
                owner_id=order.owner_id, item=item, unit_price=item.price
            )
            line.position, line.quantity = position, each.quantity
            lines[item.id] = line
        order.lines = [*lines.values()]


class OrderMails:
    """Sends mail about orders, in background jobs."""

    def __init__(
        self, orders: UnitsOfWork[OrderMailRepository], mailer: Mailer, site_url: str
    ) -> None:
        self._orders = orders
        self._mailer = mailer
        self._site_url = site_url

    async def send_placed(self, order_id: int) -> None:
        """Send the owner a mail that the order is placed, unless the order has been deleted."""
        async with self._orders.reading() as orders:
            found = await orders.get_with_email(order_id)
        # SQLite gives the id of a deleted order to the next one, such as the draft of another user.
        if found is not None and found[0].placed_at is not None:
            order, email = found
            link = f"{self._site_url}/orders/{order.id}"
            order_read = OrderRead.model_validate(order)
            # Each order has its mail, since a stranger cannot place one.
            await self._mailer.send(
                email, "order_placed", per_hour=MAX_MAILS_PER_HOUR, order=order_read, link=link
            )


def require(order: Order, status: OrderStatus, refusal: str) -> None:
    if order.status != status:
        raise WrongStatus(refusal, status=order.status)


def line_at(position: int) -> tuple[str | int, ...]:
    return ("body", "lines", position, "item_id")
