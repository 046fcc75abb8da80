"""Orders, and items in orders, that are selected in a list and deleted together."""

import re

import httpx
import pytest

from tests.conftest import Person, sign_in
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order
from tests.forms import form_of


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def test_item_in_use_is_named_and_nothing_is_deleted(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    lamp, desk, chair = [await make_item(ann, name=name) for name in ("Lamp", "Desk", "Chair")]
    await make_order(ann, (desk, 1))
    sent = {f"select-{item['id']}": "1" for item in (lamp, desk, chair)}
    page = await browser.post("/items/delete", data=sent)
    assert page.status_code == 409
    assert "This item is in use and cannot be deleted." in page.text
    assert re.findall(r'id="(select-\d+)-error"', page.text) == [f"select-{desk['id']}"]
    assert len((await ann.client.get("/api/v1/items")).json()["results"]) == 3
    # The others are still selected.
    assert (await browser.post("/items/delete", data=form_of(page))).status_code == 303
    (left,) = (await ann.client.get("/api/v1/items")).json()["results"]
    assert left["name"] == "Desk"


async def test_drafts_are_deleted_together(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann)
    drafts = [await make_order(ann, (item, 1)) for _ in range(2)]
    placed = await make_order(ann, (item, 1))
    await change_order(ann, placed["id"], "place")
    page = await browser.get("/orders")
    selectable = re.findall(r'form="selection" name="select-(\d+)"', page.text)
    assert sorted(map(int, selectable)) == [draft["id"] for draft in drafts]
    asked = await browser.get(
        "/orders/delete", params={f"select-{draft['id']}": "1" for draft in drafts}
    )
    assert ("Order 1<" in asked.text, "Order 2<" in asked.text) == (True, True)
    assert (await browser.post("/orders/delete", data=form_of(asked))).status_code == 303
    (left,) = (await ann.client.get(ORDERS)).json()["results"]
    assert left["id"] == placed["id"]


async def test_order_that_was_placed_meanwhile_stays(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    draft, placed = [await make_order(ann, (item, 1)) for _ in range(2)]
    sent = {f"select-{order['id']}": "1" for order in (draft, placed)}
    version = (await change_order(ann, placed["id"], "place"))["version"]
    page = await browser.post("/orders/delete", data=sent)
    assert (page.status_code, "This has changed meanwhile." in page.text) == (409, True)
    sent |= {f"select-{placed['id']}": str(version)}
    page = await browser.post("/orders/delete", data=sent)
    assert page.status_code == 409
    assert "cannot be deleted." in page.text
    assert len((await ann.client.get(ORDERS)).json()["results"]) == 2
