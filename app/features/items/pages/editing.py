"""One item: to make, to change and to delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.core.database.repository import Versions
from app.core.errors import Stale
from app.features.items.dependencies import MemberItems
from app.features.items.schemas import ItemCreate
from app.web.forms import FORM_ERRORS, Form, FormDep, expected_version
from app.web.navigation import ResponseException, redirect
from app.web.once import SubmitOnce, SubmitOnceDep, new_form
from app.web.rendering import render

router = APIRouter(prefix="/items")


class ItemPages:
    """The items as their owner's pages need them."""

    def __init__(self, request: Request, principal: Member, items: MemberItems) -> None:
        self._request = request
        self._principal = principal
        self._items = items

    async def show_item(self, template: str, item_id: int, form: Form | None = None) -> Response:
        item = await self._items.get(item_id)
        return self.show(template, form or form_of(item), item=item)

    def show(self, template: str, form: Form | None = None, **context: Any) -> Response:
        return render(self._request, f"items/{template}.html", form=form, **context)

    async def create(self, form: Form, once: SubmitOnce) -> None:
        data = form.read(ItemCreate)
        if await once.is_first(self._principal, form):
            await self._items.create(data)

    async def replace(self, item_id: int, data: ItemCreate, expected: Versions) -> None:
        """What is the same already, as after a second press, is no conflict."""
        try:
            await self._items.update(item_id, data, expected)
        except Stale:
            item = await self._items.get(item_id)
            if ItemCreate.model_validate(item, from_attributes=True) != data:
                raise

    async def delete(self, item_id: int, expected: Versions) -> None:
        await self._items.delete(item_id, expected)


ItemPagesDep = Annotated[ItemPages, Depends(ItemPages)]


@router.get("/new")
async def show_new_item(pages: ItemPagesDep) -> Response:
    return pages.show("new", new_form())


@router.post("/new")
async def create_item(form: FormDep, pages: ItemPagesDep, once: SubmitOnceDep) -> Response:
    try:
        await pages.create(form, once)
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(pages.show("new", form)) from error
    return redirect("/items?notice=created")


@router.get("/{item_id:int}/edit")
async def show_item(item_id: int, pages: ItemPagesDep) -> Response:
    return await pages.show_item("edit", item_id)


@router.post("/{item_id:int}/edit")
async def save_item(item_id: int, form: FormDep, pages: ItemPagesDep) -> Response:
    try:
        await pages.replace(item_id, form.read(ItemCreate), expected_version(form))
    except Stale as error:
        form.status = 409
        raise ResponseException(await pages.show_item("conflict", item_id, form)) from error
    except FORM_ERRORS as error:
        form.add_error(error)
        raise ResponseException(await pages.show_item("edit", item_id, form)) from error
    return redirect("/items?notice=saved")


@router.get("/{item_id:int}/delete")
async def show_delete_item(item_id: int, pages: ItemPagesDep) -> Response:
    return await pages.show_item("delete", item_id)


@router.post("/{item_id:int}/delete")
async def delete_item(item_id: int, form: FormDep, pages: ItemPagesDep) -> Response:
    try:
        await pages.delete(item_id, expected_version(form))
    except Stale as error:
        form.status = 409
        form.alert = "The item has changed since you opened it. This is the current version."
        raise ResponseException(await pages.show_item("delete", item_id, form)) from error
    return redirect("/items?notice=deleted")


def form_of(item: Any) -> Form:
    return Form(
        {
            "name": item.name,
            "price": str(item.price),
            "description": item.description or "",
            "is_offer": "true" if item.is_offer else "",
            "version": str(item.version),
        }
    )
