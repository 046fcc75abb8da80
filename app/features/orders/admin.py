from typing import Any, ClassVar

from markupsafe import Markup, escape
from starlette.requests import Request

from app.core.translation import format_money, gettext
from app.features.orders.models import WITH_LINES, Order
from app.features.orders.schemas import OrderSummary
from app.web.admin_site.links import link_to_record
from app.web.admin_site.view import AdminView


def describe_lines(order: Order, _: str, request: Request) -> Markup:
    """Return the lines, whose items are links to their pages."""
    return Markup("\n").join(
        escape(gettext("{quantity} x {name} at {price}: {total}")).format(
            quantity=line.quantity,
            name=link_to_record(request, "item", line.item_id, line.item_name),
            price=format_money(line.unit_price),
            total=format_money(line.total),
        )
        for line in order.lines
    )


class OrderAdmin(AdminView, model=Order):
    """The read-only view of orders, which only the API and the pages change."""

    icon = "fa-solid fa-cart-shopping"
    can_create = can_edit = can_delete = False
    read_schema = OrderSummary
    options = (WITH_LINES,)
    column_list = ("id", "number", "status", "total", "owner_id", "created_at")
    column_sortable_list = ("id", "number", "status", "owner_id", "created_at")
    column_default_sort = ("id", True)
    column_labels: ClassVar = {"contents": "Lines"}
    filters = ("status", "owner_id")
    # Not the name of the relationship, which sqladmin would show as links to pages of lines.
    column_formatters_detail: ClassVar = {"contents": describe_lines}

    def get_details_columns(self) -> Any:
        return [*super().get_details_columns(), "contents"]


VIEWS = [OrderAdmin]
