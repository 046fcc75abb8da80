"""Items in the admin."""

import csv
import io
import json
import logging
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.features.items.events import ItemEvent
from tests.admin import alert, delete_records, field_errors, listed_ids
from tests.conftest import Person, counted_statements
from tests.features.items.steps import make_item

LAMP = {"name": "Lamp", "price": "19.99", "description": "Brass"}


async def make_regular_item(person: Person, **values: Any) -> dict[str, Any]:
    return await make_item(person, **LAMP | {"is_offer": False} | values)


def value(page: httpx.Response, name: str) -> str:
    (tag,) = re.findall(f'<input[^>]* name="{name}"[^>]*>', page.text)
    return "".join(re.findall('value="([^"]*)"', tag))


async def test_item_is_created_changed_and_deleted(
    admin: httpx.AsyncClient, root: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.admin")
    made = await admin.post("/admin/item/create", data=LAMP | {"is_offer": "true"})
    assert made.status_code == 303
    assert made.headers["Location"] == "/admin/item/list"
    (item,) = (await root.client.get("/api/v1/items")).json()["results"]
    assert item.items() >= (LAMP | {"is_offer": True, "version": 1, "owner_id": root.id}).items()
    edit = await admin.get(f"/admin/item/edit/{item['id']}")
    assert (value(edit, "name"), value(edit, "price"), value(edit, "version")) == (
        "Lamp",
        "19.99",
        "1",
    )
    assert ">\nBrass</textarea>" in edit.text
    form = {"name": "Desk", "price": "5", "description": "", "version": "1"}
    saved = await admin.post(f"/admin/item/edit/{item['id']}", data=form)
    assert saved.status_code == 303
    changed = (await root.client.get(f"/api/v1/items/{item['id']}")).json()
    expected = {"name": "Desk", "price": "5.00", "description": None, "is_offer": False}
    assert changed.items() >= (expected | {"version": 2}).items()
    deleted = await delete_records(admin, "item", item["id"])
    assert deleted.headers["Location"] == "/admin/item/list"
    assert "“Desk” deleted." in (await admin.get("/admin/item/list")).text
    assert (await root.client.get("/api/v1/items")).json()["results"] == []
    assert [record.getMessage() for record in caplog.records if record.name == "app.admin"] == [
        f"User {root.id} created item {item['id']}",
        f"User {root.id} changed item {item['id']} (name, description, price, is_offer)",
        f"User {root.id} deleted item {item['id']}",
    ]


async def test_stale_version_is_not_overwritten(admin: httpx.AsyncClient, ann: Person) -> None:
    item = await make_regular_item(ann)
    await ann.client.patch(f"/api/v1/items/{item['id']}", json={"price": "1"})
    page = await admin.post(f"/admin/item/edit/{item['id']}", data=LAMP | {"version": "1"})
    assert page.status_code == 422
    assert alert(page) == "The item has changed. The current version is 2."
    now = (await ann.client.get(f"/api/v1/items/{item['id']}")).json()
    assert (now["price"], now["version"]) == ("1.00", 2)


async def test_changes_are_published_to_the_owner(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    item, published = await make_regular_item(ann), list[str]()
    with app.state.resources.broadcast.subscribed(ItemEvent.topic_of(ann.id), published.append):
        await admin.post(f"/admin/item/edit/{item['id']}", data=LAMP | {"version": "1"})
        await delete_records(admin, "item", item["id"])
    assert [(event["type"], event["version"]) for event in map(json.loads, published)] == [
        ("item.updated", 2),
        ("item.deleted", 2),
    ]


@pytest.mark.parametrize(
    ("name", "sent", "words"),
    [
        ("name", "", "Please fill this in."),
        ("name", "x" * 256, "At most 255 characters."),
        ("name", "a\x00b", "Remove the characters that cannot be stored."),
        ("price", "cheap", "Enter a number such as 19.99."),
        ("price", "nan", "Enter a number such as 19.99."),
        ("price", "-1", "At least 0."),
        ("description", "x" * 10_001, "At most 10000 characters."),
    ],
)
async def test_invalid_field_is_refused_beside_it(
    admin: httpx.AsyncClient, root: Person, name: str, sent: str, words: str
) -> None:
    item = await make_regular_item(root)
    for path in ("/admin/item/create", f"/admin/item/edit/{item['id']}"):
        page = await admin.post(path, data=LAMP | {name: sent, "version": "1"})
        assert page.status_code == 422
        assert field_errors(page) == words
    assert (await root.client.get("/api/v1/items")).json()["results"] == [item]


async def test_selected_items_are_deleted_all_or_none(
    admin: httpx.AsyncClient, root: Person
) -> None:
    one, two = (await make_regular_item(root))["id"], (await make_regular_item(root))["id"]
    assert (await delete_records(admin, "item", one, two)).status_code == 303
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


async def test_list_is_searched_filtered_and_sorted(
    admin: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    lamp = (await make_regular_item(ann, name="Lämp 100%", price="20"))["id"]
    desk = (await make_regular_item(ann, name="Desk", price="5", is_offer=True))["id"]
    chair = (await make_regular_item(bob, name="Chair", price="9.99"))["id"]
    for query, expected in {
        "": [chair, desk, lamp],
        "search=LÄMP": [lamp],
        "search=la%CC%88mp": [lamp],
        "search=100%25": [lamp],
        "search=%25": [lamp],
        "search=_": [],
        "search=brass": [chair, desk, lamp],
        "search=%00": [],
        f"search={'x' * 256}": [],
        "is_offer=true": [desk],
        "is_offer=": [chair, desk, lamp],
        "is_offer=all": [],
        "price=9.99&price_op=equals": [chair],
        "price=6&price_op=greater_than": [chair, lamp],
        "price=6&price_op=less_than": [desk],
        "price=nan&price_op=equals": [],
        "price=cheap&price_op=less_than": [],
        "price=1&price_op=drop": [],
        f"owner_id={ann.id}&owner_id_op=equals": [desk, lamp],
        f"owner_id={2**70}&owner_id_op=equals": [],
        "owner_id=me&owner_id_op=equals": [],
        "sort=name": [chair, desk, lamp],
        "sort=-price": [lamp, chair, desk],
        "page=9999999999999999999999": [chair, desk, lamp],
        "page=-1": [chair, desk, lamp],
    }.items():
        page = await admin.get(f"/admin/item/list?{query}", follow_redirects=True)
        assert listed_ids(page) == expected, query
    for query in ("page=x", "page_size=0", "page_size=1000", "page_size=x", "sort=password_hash"):
        assert (await admin.get(f"/admin/item/list?{query}")).status_code == 400, query


async def test_list_needs_two_statements(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    batch = [LAMP | {"name": f"Lamp {n}"} for n in range(50)]
    await root.client.post("/api/v1/items/batch", json=batch)
    async with counted_statements(app) as seen:
        page = await admin.get("/admin/item/list?page_size=50&sort=name")
    assert len(listed_ids(page)) == 50
    about_items = [each for each in seen if "FROM items" in each]
    assert len(about_items) == 2  # They read the count and the page.
    assert "ORDER BY" not in next(each for each in about_items if "count(" in each)


async def test_export_has_the_filters_of_the_list(admin: httpx.AsyncClient, root: Person) -> None:
    await make_regular_item(root, name="=1+1", price="5")
    await make_regular_item(root, name="Desk", price="50")
    file = await admin.get("/admin/item/export/csv?price=10&price_op=less_than")
    assert file.headers["Content-Disposition"] == 'attachment; filename="item.csv"'
    head, row = file.text.removeprefix("\ufeff").splitlines()
    assert head == "id,name,description,price,is_offer,owner_id,created_at,updated_at,version"
    assert row.split(",")[1:5] == ["'=1+1", "Brass", "5.00", "false"]
    lines = (await admin.get("/admin/item/export/ndjson")).text.splitlines()
    assert len(lines) == 2


async def test_export_of_several_pages_is_complete(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.admin_site.view.EXPORT_PAGE_SIZE", 2)
    await root.client.post("/api/v1/items/batch", json=[LAMP] * 5)
    file = await admin.get("/admin/item/export/ndjson")
    assert len(file.text.splitlines()) == 5
    sessions = await admin.get("/admin/auth-session/export/csv")
    assert len(sessions.text.splitlines()) == 3


async def test_formula_is_escaped_in_the_exported_csv(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    await make_regular_item(ann, name="a;=1", description="@b")
    text = (await admin.get("/admin/item/export/csv")).content.decode("utf-8-sig")
    (_, row) = csv.reader(io.StringIO(text, newline=""))
    assert row[1:3] == ["a;'=1", "'@b"]
