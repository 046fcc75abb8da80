from collections.abc import Sequence
from typing import Any, ClassVar

from starlette.requests import Request

from app.core.resources import resources_of
from app.core.schemas import Price
from app.features.items.dependencies import item_service
from app.features.items.models import Item
from app.features.items.schemas import ItemCreate, ItemRead
from app.web.admin_site.filters import BooleanFilter, ValueFilter
from app.web.admin_site.view import AdminView, principal_of
from app.web.forms import Form, expected_version


class ItemAdmin(AdminView, model=Item):
    icon = "fa-solid fa-tag"
    read_schema = ItemRead
    create_schema = edit_schema = ItemCreate
    hidden = ("version",)
    column_list = ("id", "name", "price", "is_offer", "owner_id", "updated_at")
    column_searchable_list = ("name", "description")
    column_sortable_list = ("id", "name", "price", "owner_id", "updated_at")
    column_default_sort = ("id", True)
    column_labels: ClassVar = {"id": "ID", "is_offer": "On offer", "owner_id": "Owner"}
    column_filters: ClassVar = [
        BooleanFilter(Item.is_offer, "On offer"),
        ValueFilter(Item.price, "Price", Price),
        ValueFilter(Item.owner_id, "Owner", int),
    ]

    async def create(self, request: Request, form: Form) -> Any:
        async with item_service(principal_of(request), resources_of(request)) as items:
            return await items.create(form.read(ItemCreate))

    async def edit(self, request: Request, pk: int, form: Form) -> Any:
        async with item_service(principal_of(request), resources_of(request)) as items:
            return await items.update(pk, form.read(ItemCreate), expected_version(form))

    async def delete(self, request: Request, pks: Sequence[int]) -> None:
        async with item_service(principal_of(request), resources_of(request)) as items:
            for pk in pks:
                await items.delete(pk, expected=None)


VIEWS = [ItemAdmin]
