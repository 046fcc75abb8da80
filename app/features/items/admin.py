from typing import ClassVar

from app.features.items.dependencies import item_service
from app.features.items.models import Item
from app.features.items.schemas import ItemCreate, ItemRead
from app.web.admin_site.view import ServiceView


class ItemAdmin(ServiceView, model=Item):
    icon = "fa-solid fa-tag"
    service = item_service
    read_schema = ItemRead
    create_schema = edit_schema = ItemCreate
    column_list = ("id", "name", "price", "is_offer", "owner_id", "updated_at")
    column_searchable_list = ("name", "description")
    column_sortable_list = ("id", "name", "price", "owner_id", "updated_at")
    column_labels: ClassVar = {"is_offer": "On offer"}
    filters = ("price", "is_offer", "owner_id")


VIEWS = [ItemAdmin]
