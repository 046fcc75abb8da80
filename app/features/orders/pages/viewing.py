"""One order, with buttons to place, ship and delete it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.core.errors import Conflict, Stale
from app.features.orders.dependencies import MemberOrders
from app.web.forms import Form, FormDep, expected_version
from app.web.navigation import ResponseException, redirect
from app.web.rendering import render

CHANGED = "The order has changed since you opened it. This is the current version."
NOTICES = {
    "created": "Order created. Place it when it is complete.",
    "placed": "Order placed. A confirmation is on its way by email.",
    "shipped": "Order shipped.",
}

router = APIRouter(prefix="/orders")


class OrderPages:
    """The pages of one order."""

    def __init__(self, request: Request, orders: MemberOrders) -> None:
        self._request = request
        self._orders = orders

    async def show(
        self, order_id: int, template: str = "view", form: Form | None = None
    ) -> Response:
        order = await self._orders.get(order_id)
        notice = NOTICES.get(self._request.query_params.get("notice", ""))
        path = f"orders/{template}.html"
        return render(self._request, path, form=form, order=order, notice=notice)

    async def refusal(
        self, order_id: int, form: Form, error: Stale | Conflict, template: str = "view"
    ) -> ResponseException:
        """Return the page to raise: the order as it is now, and why nothing was done."""
        form.status = 409
        form.alert = CHANGED if isinstance(error, Stale) else error.detail
        return ResponseException(await self.show(order_id, template, form))


OrderPagesDep = Annotated[OrderPages, Depends(OrderPages)]


@router.get("/{order_id:int}")
async def show_order(order_id: int, pages: OrderPagesDep) -> Response:
    return await pages.show(order_id)


@router.post("/{order_id:int}/place")
async def place_order(
    order_id: int, form: FormDep, orders: MemberOrders, pages: OrderPagesDep
) -> Response:
    try:
        await orders.place(order_id, expected_version(form))
    except (Stale, Conflict) as error:
        raise await pages.refusal(order_id, form, error) from error
    return redirect(f"/orders/{order_id}?notice=placed")


@router.post("/{order_id:int}/ship")
async def ship_order(
    order_id: int, form: FormDep, orders: MemberOrders, pages: OrderPagesDep
) -> Response:
    try:
        await orders.ship(order_id, expected_version(form))
    except (Stale, Conflict) as error:
        raise await pages.refusal(order_id, form, error) from error
    return redirect(f"/orders/{order_id}?notice=shipped")


@router.get("/{order_id:int}/delete")
async def show_delete_order(order_id: int, pages: OrderPagesDep) -> Response:
    return await pages.show(order_id, "delete")


@router.post("/{order_id:int}/delete")
async def delete_order(
    order_id: int, form: FormDep, orders: MemberOrders, pages: OrderPagesDep
) -> Response:
    try:
        await orders.delete(order_id, expected_version(form))
    except (Stale, Conflict) as error:
        raise await pages.refusal(order_id, form, error, "delete") from error
    return redirect("/orders?notice=deleted")
