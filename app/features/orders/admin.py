from typing import ClassVar

from app.features.orders.models import WITH_LINES, Order
from app.features.orders.schemas import OrderSummary
from app.web.admin_site.view import AdminView


class OrderAdmin(AdminView):
    """The read-only view of orders, which only the API and the pages change."""

    model = Order
    read_schema = OrderSummary
    options = (WITH_LINES,)
    columns = ("id", "number", "status", "total", "owner_id", "created_at")
    sort_fields = ("id", "number", "status", "owner_id", "created_at")
    filters = ("status", "owner_id")
    rows: ClassVar = {"lines": ("item_id", "quantity", "unit_price", "total")}


VIEWS = [OrderAdmin]
