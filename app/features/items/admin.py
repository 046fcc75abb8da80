from typing import ClassVar

from app.features.items.dependencies import get_item_service
from app.features.items.models import Item
from app.features.items.schemas import ItemCreate, ItemRead
from app.web.admin_site.view import ServiceView


class ItemAdmin(ServiceView):
    model = Item
    get_service = get_item_service
    title_field = "name"
    read_schema = ItemRead
    create_schema = edit_schema = ItemCreate
    columns = ("id", "name", "price", "is_offer", "owner_id", "updated_at")
    search_fields = ("name", "description")
    sort_fields = ("id", "name", "price", "owner_id", "updated_at")
    labels: ClassVar = {"is_offer": "On offer"}
    filters = ("price", "is_offer", "owner_id")


VIEWS = [ItemAdmin]
