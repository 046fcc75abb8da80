"""Orders in the admin, which is read-only."""

import json
import re

import httpx
import pytest
from fastapi import FastAPI

from tests.admin import listed_ids
from tests.conftest import Person, counted_statements
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order


async def test_list_shows_status_and_total(admin: httpx.AsyncClient, ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 3))
    await change_order(ann, order["id"], "place")
    page = await admin.get("/admin/order/list")
    assert listed_ids(page) == [order["id"]]
    for words in ("Placed", "$59.97"):
        assert f"<td>{words}</td>" in page.text
    for action in ("create", "edit", "delete"):
        assert f"/admin/order/{action}" not in page.text


async def test_details_show_the_lines(admin: httpx.AsyncClient, ann: Person) -> None:
    lamp, evil = await make_item(ann), await make_item(ann, name="<b>Desk", price="5")
    order = await make_order(ann, (lamp, 3), (evil, 1), note="Ring twice.")
    page = await admin.get(f"/admin/order/details/{order['id']}")
    assert page.status_code == 200
    assert "<b>Desk" not in page.text
    rows = [re.findall("<td>(.*?)</td>", row) for row in page.text.split("<tr>")[2:]]
    link = '<a href="/admin/item/details/{}" dir="auto">{}</a>'
    assert rows == [
        [link.format(lamp["id"], "Lamp"), "3", "$19.99", "$59.97"],
        [link.format(evil["id"], "&lt;b&gt;Desk"), "1", "$5.00", "$5.00"],
    ]
    for words in ("$64.97", "Ring twice."):
        assert words in page.text


async def test_statements_of_a_list_do_not_grow_with_its_orders(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    for _ in range(5):
        await make_order(ann, (item, 1))
    async with counted_statements(app) as statements:
        assert len(listed_ids(await admin.get("/admin/order/list"))) == 5
    about_orders = [each for each in statements if "FROM order" in each]
    assert len(about_orders) == 3  # They read the count, the orders and all their lines.


async def test_filters_and_sorts(admin: httpx.AsyncClient, ann: Person, bob: Person) -> None:
    item = await make_item(ann)
    draft, placed = await make_order(ann), await make_order(ann, (item, 1))
    await change_order(ann, placed["id"], "place")
    theirs = await make_order(bob)
    for query, expected in {
        "": [theirs, placed, draft],
        "status=placed": [placed],
        "status=draft": [theirs, draft],
        "status=": [theirs, placed, draft],
        "status=lost": [],
        "status=%00": [],
        f"owner_id={bob.id}&owner_id_op=equals": [theirs],
        "sort=created_at": [draft, placed, theirs],
    }.items():
        page = await admin.get(f"/admin/order/list?{query}")
        assert listed_ids(page) == [order["id"] for order in expected], query


async def test_export_has_totals(admin: httpx.AsyncClient, ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 3))
    (line,) = (await admin.get("/admin/order/export/ndjson")).text.splitlines()
    assert json.loads(line) == {name: order[name] for name in order if name != "lines"}
    header, row = (await admin.get("/admin/order/export/csv")).text.splitlines()
    assert "59.97" in row.split(",")[header.split(",").index("total")]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "create"),
        ("POST", "create"),
        ("GET", "edit/1"),
        ("POST", "edit/1"),
        ("GET", "delete?select-1=on"),
        ("POST", "delete"),
    ],
)
async def test_admin_changes_no_order(
    admin: httpx.AsyncClient, ann: Person, method: str, path: str
) -> None:
    order = await make_order(ann)
    response = await admin.request(method, f"/admin/order/{path}")
    assert response.status_code == 403
    assert (await ann.client.get(ORDERS)).json()["results"] == [order]


async def test_unknown_order_returns_404(admin: httpx.AsyncClient) -> None:
    for order_id in ("999", "x", str(10**30)):
        assert (await admin.get(f"/admin/order/details/{order_id}")).status_code == 404


async def test_status_is_translated(admin: httpx.AsyncClient, ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    page = await admin.get("/admin/order/list", headers={"Accept-Language": "ko"})
    assert "<td>초안</td>" in page.text
    for filter_ in ("전체", "초안", "확정", "발송"):
        assert f">{filter_}</option>" in page.text
    path = f"/admin/order/details/{order['id']}"
    details = await admin.get(path, headers={"Accept-Language": "ko"})
    assert '<dd dir="auto">초안</dd>' in details.text
