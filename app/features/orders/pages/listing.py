"""The list of orders, newest first, filtered by status."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.core.http.links import CursorsDep
from app.features.orders.dependencies import MemberOrders
from app.features.orders.models import OrderStatus
from app.features.orders.schemas import OrderQuery
from app.web.forms import FORM_ERRORS, Form
from app.web.paging import page_with_previous
from app.web.rendering import render

NEWEST_FIRST = "-id"
NOTICES = {"created": "Order created.", "deleted": "Order deleted."}

router = APIRouter(prefix="/orders")


@router.get("")
async def show_orders(request: Request, orders: MemberOrders, cursors: CursorsDep) -> Response:
    form, page = Form(request.query_params), None
    try:
        query = form.read(OrderQuery, sort=NEWEST_FIRST)
        page = await page_with_previous(orders.list, query, form.get("before"), cursors)
    except FORM_ERRORS as error:
        form.add_error(error)
    return render(
        request,
        "orders/list.html",
        form=form,
        notice=NOTICES.get(form.get("notice")),
        page=page,
        statuses=[*OrderStatus],
    )
