"""The list of orders, and one order with buttons to place, ship and delete it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.core.errors import Conflict, Stale
from app.core.translation import gettext, mark
from app.features.orders.dependencies import MemberOrders
from app.features.orders.models import OrderStatus
from app.features.orders.schemas import OrderQuery, OrderRead
from app.web.bulk_delete import add_bulk_delete
from app.web.flash import flash
from app.web.forms import FormDep, expected_version
from app.web.links import page_url
from app.web.resource_pages import NEWEST_FIRST, ResourcePages

router = APIRouter(prefix="/orders")


class OrderPages(ResourcePages):
    name = "order"
    title_field = "number"
    folder = "orders"
    list_page = "show_orders"
    query = OrderQuery
    conflicts = (Stale, Conflict)
    recent_first = NEWEST_FIRST

    def title_of(self, record: OrderRead) -> str:
        return gettext("Order {number}", number=record.number)


async def get_order_pages(request: Request, member: Member, orders: MemberOrders) -> OrderPages:
    return OrderPages(request, member, orders)


OrderPagesDep = Annotated[OrderPages, Depends(get_order_pages)]
add_bulk_delete(router, get_order_pages, "orders")
DASHBOARD = [get_order_pages]


@router.get("")
async def show_orders(pages: OrderPagesDep) -> Response:
    return await pages.show_list(statuses=[*OrderStatus])


@router.get("/{order_id:int}")
async def show_order(order_id: int, pages: OrderPagesDep) -> Response:
    return await pages.show("view", order_id)


@router.post("/{order_id:int}/place")
async def place_order(
    request: Request, order_id: int, form: FormDep, orders: MemberOrders, pages: OrderPagesDep
) -> Response:
    async with pages.show_conflicts("view", order_id, form):
        await orders.place(order_id, expected_version(form))
    url = page_url(request, "show_order", order_id=order_id)
    return flash(request, url, mark("Order placed. A confirmation is on its way by email."))


@router.post("/{order_id:int}/ship")
async def ship_order(
    request: Request, order_id: int, form: FormDep, orders: MemberOrders, pages: OrderPagesDep
) -> Response:
    async with pages.show_conflicts("view", order_id, form):
        await orders.ship(order_id, expected_version(form))
    url = page_url(request, "show_order", order_id=order_id)
    return flash(request, url, mark("Order shipped."))


@router.get("/{order_id:int}/delete")
async def show_delete_order(order_id: int, pages: OrderPagesDep) -> Response:
    return await pages.show("delete", order_id)


@router.post("/{order_id:int}/delete")
async def delete_order(order_id: int, form: FormDep, pages: OrderPagesDep) -> Response:
    return await pages.delete(order_id, form)
