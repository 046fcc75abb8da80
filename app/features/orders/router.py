from typing import Annotated

from fastapi import Query, Response

from app.core.database.pagination import Page
from app.core.errors import WrongStatus
from app.core.http.conditional import IfMatch, IfNoneMatch
from app.core.http.idempotency import idempotent
from app.core.http.problem_kinds import problem_response
from app.core.http.routing import ApiRouter
from app.features.orders.dependencies import ReadOrders, WriteOrders
from app.features.orders.schemas import OrderCreate, OrderQuery, OrderRead, OrderUpdate

WRONG_STATUS = problem_response(WrongStatus, "The status of the order does not allow this")

router = ApiRouter(prefix="/orders", tags=["orders"])


@router.post("", status_code=201, dependencies=[idempotent])
async def create_order(data: OrderCreate, orders: WriteOrders) -> OrderRead:
    """Create a draft of your items, at their current prices."""
    return await orders.create(data)


@router.get("")
async def list_orders(query: Annotated[OrderQuery, Query()], orders: ReadOrders) -> Page[OrderRead]:
    """List your orders, a page at a time. The scope `orders:all` lists those of all users."""
    return await orders.list(query)


@router.get("/{order_id}")
async def read_order(order_id: int, orders: ReadOrders, known: IfNoneMatch) -> OrderRead:
    """Get an order."""
    return await orders.get(order_id)


@router.patch("/{order_id}", responses=WRONG_STATUS)
async def update_order(
    order_id: int, data: OrderUpdate, orders: WriteOrders, expected: IfMatch
) -> OrderRead:
    """Change a draft's note or lines. Lines of items that were in it before keep their price."""
    return await orders.update(order_id, data, expected)


@router.post("/{order_id}/place", responses=WRONG_STATUS)
async def place_order(order_id: int, orders: WriteOrders, expected: IfMatch) -> OrderRead:
    """Place a draft that has lines. The owner gets a mail."""
    return await orders.place(order_id, expected)


@router.post("/{order_id}/ship", responses=WRONG_STATUS)
async def ship_order(order_id: int, orders: WriteOrders, expected: IfMatch) -> OrderRead:
    """Ship a placed order. This requires the scope `orders:all`."""
    return await orders.ship(order_id, expected)


@router.delete("/{order_id}", status_code=204, response_class=Response, responses=WRONG_STATUS)
async def delete_order(order_id: int, orders: WriteOrders, expected: IfMatch) -> None:
    """Delete a draft."""
    await orders.delete(order_id, expected)
