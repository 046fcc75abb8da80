"""Helpers for the tests of the admin."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest

from app import admin as app_admin
from tests.conftest import Person
from tests.forms import form_of

LAMP = {"name": "Lamp", "price": "19.99", "description": "Brass"}


async def make_item(person: Person, **values: Any) -> Any:
    response = await person.client.post("/api/v1/items", json=LAMP | values)
    assert response.status_code == 201
    return response.json()


async def edit_user(
    admin: httpx.AsyncClient, user_id: int, values: Mapping[str, str]
) -> httpx.Response:
    """Open the form of a user, and send other values."""
    url = f"/admin/user/edit/{user_id}"
    opened = form_of(await admin.get(url))
    return await admin.post(url, data={"updated_at": opened["updated_at"], **values})


async def delete_records(
    admin: httpx.AsyncClient, identity: str, *pks: object, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Send the form of the page that confirms a deletion, or of its records if it is not shown."""
    url, form = f"/admin/{identity}/delete", {f"select-{pk}": "on" for pk in pks}
    asked = await admin.get(url, params=form)
    form = form_of(asked) if asked.is_success else form
    return await admin.post(url, data=form, headers=headers)


def change_after_selection(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[None]]
) -> None:
    """Change a record, once, after the admin has read what is selected, and before it deletes."""
    find_selected = app_admin.find_selected

    async def find_and_change(*arguments: Any) -> Sequence[Any]:
        records = await find_selected(*arguments)
        monkeypatch.undo()
        await change()
        return records

    monkeypatch.setattr(app_admin, "find_selected", find_and_change)


def alert(page: httpx.Response) -> str:
    return "".join(re.findall('<p class="alert" role="alert">(.*?)</p>', page.text))


def listed_ids(page: httpx.Response) -> list[int]:
    """Return the ids of the rows of a list."""
    assert page.status_code == 200
    rows = re.findall(r'<th scope="row"><a href="/admin/[\w-]+/details/(\d+)"', page.text)
    return [int(each) for each in rows]


def field_errors(page: httpx.Response) -> str:
    return "".join(re.findall('<p class="error"[^>]*>(.*?)</p>', page.text))
