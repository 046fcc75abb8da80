"""The form that creates a draft: a quantity for each of the member's items."""

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.core.errors import Invalid
from app.core.translation import mark
from app.features.orders.dependencies import MemberOrders
from app.features.orders.schemas import OrderCreate, Quantity
from app.features.orders.service import OrderService
from app.web.flash import flash
from app.web.forms import Form, FormDep
from app.web.links import page_url
from app.web.navigation import ResponseException
from app.web.once import SubmitOnceDep, new_form
from app.web.rendering import render

CREATED = mark("Order created. Place it when it is complete.")
MAX_ITEMS = 50
PREFIX = "quantity_"  # A field is named by its item's id.
QUANTITIES = TypeAdapter(dict[str, Quantity])

router = APIRouter(prefix="/orders")


@router.get("/new")
async def show_new_order(request: Request, orders: MemberOrders) -> Response:
    return await show_form(request, orders, new_form())


@router.post("/new")
async def create_order(
    request: Request, form: FormDep, member: Member, orders: MemberOrders, once: SubmitOnceDep
) -> Response:
    try:
        draft = draft_of(form)
        if not await once.is_first(member, form):
            return flash(request, page_url(request, "show_orders"), CREATED)
        order = await orders.create(draft)
    except (ValidationError, Invalid) as error:
        form.add_error(error)
        raise ResponseException(await show_form(request, orders, form)) from error
    return flash(request, page_url(request, "show_order", order_id=order.id), CREATED)


async def show_form(request: Request, orders: OrderService, form: Form) -> Response:
    items = await orders.newest_items(MAX_ITEMS)
    return render(
        request, "orders/new.html", form=form, items=items, prefix=PREFIX, max_items=MAX_ITEMS
    )


def draft_of(form: Form) -> OrderCreate:
    """Return the draft of the form: a line for each item with a quantity."""
    submitted = {name: value for name, value in form.values.items() if name.startswith(PREFIX)}
    filled = {name: value for name, value in submitted.items() if value.strip()}
    quantities = QUANTITIES.validate_python(filled)
    lines = [
        {"item_id": name.removeprefix(PREFIX), "quantity": quantity}
        for name, quantity in quantities.items()
    ]
    return form.read(OrderCreate, lines=lines)
