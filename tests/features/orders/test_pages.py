"""The pages of orders. The service has tests of its own."""

import asyncio
import re
from html import unescape

import httpx
import pytest
from fastapi import FastAPI

from tests.accounts.conftest import Outbox, described
from tests.conftest import Person, browser_of, sign_in
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order, read_order
from tests.pages import SCRIPT, href_of, value_of


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


def order_links(page: httpx.Response) -> list[str]:
    assert page.status_code == 200, page.text
    return re.findall(r'<a href="/orders/\d+(?:\?[^"]*)?">(.*?)</a>', page.text)


async def test_navigation_links_to_the_orders(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/orders")
    assert '<a href="/orders" aria-current="page">Orders</a>' in page.text
    assert "No orders yet" in page.text


async def test_draft_is_created_placed_and_listed(
    browser: httpx.AsyncClient, outbox: Outbox, ann: Person
) -> None:
    lamp, desk = await make_item(ann), await make_item(ann, name="Desk", price="1200")
    await make_item(ann, name="Chair")
    new = await browser.get("/orders/new")
    form = {
        f"quantity_{lamp['id']}": "2",
        f"quantity_{desk['id']}": " 1 ",
        "note": "Ring twice.",
        "once": value_of(new, "once"),
    }
    created = await browser.post("/orders/new", data=form)
    assert created.status_code == 303, created.text
    page = await browser.get(created.headers["Location"])
    for words in ("Order created.", "Draft", "Ring twice.", "19.99", "39.98", "1,239.98"):
        assert words in page.text
    assert "Chair" not in page.text
    (order,) = (await ann.client.get(ORDERS)).json()["results"]
    assert [line["quantity"] for line in order["lines"]] == [2, 1]
    placed = await browser.post(
        f"/orders/{order['id']}/place", data={"version": value_of(page, "version")}
    )
    assert placed.headers["Location"] == f"/orders/{order['id']}"
    page = await browser.get(placed.headers["Location"])
    assert "Order placed." in page.text
    assert "<button>Place order</button>" not in page.text
    assert "Delete…" not in page.text
    assert "<button>Ship order</button>" not in page.text
    assert (ann.email, "order_placed") in await outbox.to()
    assert order_links(await browser.get("/orders")) == ["Order 1"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("0", "At least 1."),
        ("1001", "At most 1000."),
        ("two", "Enter a whole number such as 2."),
        ("1.5", "Enter a whole number such as 2."),
    ],
)
async def test_invalid_quantity_is_refused_beside_its_field(
    browser: httpx.AsyncClient, ann: Person, sent: str, words: str
) -> None:
    lamp, desk = await make_item(ann), await make_item(ann)
    wrong = f"quantity_{lamp['id']}"
    page = await browser.post(
        "/orders/new", data={f"quantity_{desk['id']}": "3", wrong: sent, "note": "Keep"}
    )
    assert page.status_code == 422
    assert described(page.text, wrong) == words
    assert (value_of(page, wrong), value_of(page, f"quantity_{desk['id']}")) == (sent, "3")
    assert "Keep</textarea>" in page.text
    assert (await ann.client.get(ORDERS)).json()["results"] == []


@pytest.mark.parametrize("name", ["quantity_999999", "quantity_x", "quantity_", "note"])
async def test_forged_form_is_refused(browser: httpx.AsyncClient, ann: Person, name: str) -> None:
    await make_item(ann)
    sent = "x" * 1001 if name == "note" else "1"
    page = await browser.post("/orders/new", data={name: sent})
    assert page.status_code == 422
    assert (await ann.client.get(ORDERS)).json()["results"] == []


async def test_form_sent_twice_creates_one_order(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann)
    form = {
        f"quantity_{item['id']}": "2",
        "once": value_of(await browser.get("/orders/new"), "once"),
    }
    answers = await asyncio.gather(*(browser.post("/orders/new", data=form) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    assert len((await ann.client.get(ORDERS)).json()["results"]) == 1


async def test_new_order_without_items_links_to_the_items(browser: httpx.AsyncClient) -> None:
    assert href_of(await browser.get("/orders/new"), "New item") == "/items/new"


async def test_draft_is_deleted_after_a_confirmation(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    page = await browser.get(f"/orders/{order['id']}")
    asked = await browser.get(href_of(page, "Delete…"))
    assert "Delete order 1?" in asked.text
    form = {"version": value_of(asked, "version")}
    deleted = await browser.post(f"/orders/{order['id']}/delete", data=form)
    assert deleted.headers["Location"] == "/orders"
    assert "“1” deleted." in (await browser.get(deleted.headers["Location"])).text
    assert (await ann.client.get(ORDERS)).json()["results"] == []


@pytest.mark.parametrize("action", ["place", "delete"])
@pytest.mark.parametrize("version", ["1", "", "x"])
async def test_stale_version_shows_the_current_order(
    browser: httpx.AsyncClient, ann: Person, action: str, version: str
) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    await ann.client.patch(f"{ORDERS}/{order['id']}", json={"note": "Changed"})
    page = await browser.post(f"/orders/{order['id']}/{action}", data={"version": version})
    assert page.status_code == 409
    assert "This has changed since you opened it." in page.text
    assert value_of(page, "version") == "2"
    assert (await read_order(ann, order["id"]))["version"] == 2


async def test_refused_transition_shows_the_reason(browser: httpx.AsyncClient, ann: Person) -> None:
    empty, order = await make_order(ann), await make_order(ann, (await make_item(ann), 1))
    page = await browser.post(f"/orders/{empty['id']}/place", data={"version": "1"})
    assert (page.status_code, "without lines cannot be placed" in page.text) == (409, True)
    await change_order(ann, order["id"], "place")
    page = await browser.post(f"/orders/{order['id']}/delete", data={"version": "2"})
    assert (page.status_code, "cannot be deleted." in page.text) == (409, True)
    assert (await browser.post(f"/orders/{order['id']}/ship", data={})).status_code == 403


async def test_superuser_ships_an_order_of_another_user(
    app: FastAPI, ann: Person, root: Person
) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    await change_order(ann, order["id"], "place")
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        page = await browser.get(f"/orders/{order['id']}")
        assert f"Account {ann.id}" in page.text
        assert "<button>Ship order</button>" in page.text
        stale = await browser.post(f"/orders/{order['id']}/ship", data={"version": "1"})
        assert stale.status_code == 409
        shipped = await browser.post(f"/orders/{order['id']}/ship", data={"version": "2"})
        page = await browser.get(shipped.headers["Location"])
    assert "Order shipped." in page.text
    assert (await read_order(ann, order["id"]))["status"] == "shipped"


async def test_list_is_filtered_and_sorted_in_both_directions(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    for _ in range(5):
        await make_order(ann, (item, 1))
    await change_order(ann, 1, "place")
    first = await browser.get("/orders?limit=2&status=draft")
    assert order_links(first) == ["Order 5", "Order 4"]
    assert "status=draft" in href_of(first, "Next page")
    second = await browser.get(f"{href_of(first, 'Next page')}&limit=2")
    assert order_links(second) == ["Order 3", "Order 2"]
    back = await browser.get(f"{href_of(second, 'Previous page')}&limit=2")
    assert order_links(back) == order_links(first)
    assert order_links(await browser.get("/orders?status=placed")) == ["Order 1"]
    assert "No orders match." in (await browser.get("/orders?status=shipped")).text
    assert (await browser.get("/orders?status=lost")).status_code == 422


async def test_other_users_order_returns_404(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    order = await make_order(bob, (await make_item(bob), 1), note="A secret")
    for order_id in (order["id"], 999, 10**30, 0):
        for path in ("", "/delete"):
            page = await browser.get(f"/orders/{order_id}{path}")
            assert (page.status_code, "A secret" in page.text) == (404, False)
        for path in ("place", "delete"):
            page = await browser.post(f"/orders/{order_id}/{path}", data={"version": "1"})
            assert page.status_code == 404
    assert await read_order(bob, order["id"]) == order


async def test_signed_out_visitor_is_redirected_to_the_sign_in(app: FastAPI) -> None:
    async with browser_of(app) as visitor:
        for path in ("/orders", "/orders/new", "/orders/1", "/orders/1/delete"):
            assert (await visitor.get(path)).headers["Location"] == f"/login?next={path}"
        for path in ("/orders/new", "/orders/1/place", "/orders/1/ship", "/orders/1/delete"):
            assert (await visitor.post(path, data={})).headers["Location"] == "/login"


@pytest.mark.parametrize("text", [SCRIPT, '" onmouseover="alert(1)', "</textarea><script>"])
async def test_text_of_orders_and_items_is_escaped(
    browser: httpx.AsyncClient, ann: Person, text: str
) -> None:
    item = await make_item(ann, name=text)
    order = await make_order(ann, (item, 1), note=text)
    pages = [
        await browser.get("/orders"),
        await browser.get("/orders/new"),
        await browser.get(f"/orders/{order['id']}"),
        await browser.get(f"/orders/{order['id']}/delete"),
        await browser.get("/orders", params={"status": text, "cursor": text}),
        await browser.post(
            "/orders/new", data={f"quantity_{item['id']}": text, "note": text, "once": text}
        ),
    ]
    for page in pages:
        assert page.status_code in (200, 422)
        assert not re.search(r"<script>|<[^>]* onmouseover=\"", page.text)
    assert text in unescape(pages[2].text)


async def test_item_of_an_order_cannot_be_deleted_on_its_page(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await make_order(ann, (item, 1))
    page = await browser.post(f"/items/{item['id']}/delete", data={"version": "1"})
    assert page.status_code == 409
    assert "This item is in use and cannot be deleted." in page.text
