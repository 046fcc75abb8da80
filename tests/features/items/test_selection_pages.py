"""Items that are selected in the list and deleted together."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from app.web import bulk_delete, resource_pages
from tests.conftest import Person, sign_in
from tests.features.items.pages import names_on
from tests.features.items.steps import ITEMS, LAMP, make_item
from tests.forms import form_of
from tests.pages import href_of

DELETE = "/items/delete"


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


def selected(*items: dict[str, Any]) -> dict[str, str]:
    return {f"select-{item['id']}": str(item["version"]) for item in items}


async def stored(person: Person) -> list[str]:
    items = (await person.client.get(ITEMS)).json()["results"]
    return [item["name"] for item in items]


async def change(person: Person, item: dict[str, Any], name: str) -> None:
    changed = await person.client.patch(f"{ITEMS}/{item['id']}", json={"name": name})
    assert changed.status_code == 200


async def test_selected_items_are_deleted_after_a_confirmation(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    lamp, desk, _ = [await make_item(ann, name=name) for name in ("Lamp", "Desk", "Chair")]
    page = await browser.get("/items")
    boxes = re.findall(r'form="selection" name="(select-\d+)" value="(\d+)"', page.text)
    assert dict(boxes).items() >= selected(lamp, desk).items()
    assert re.findall('<form id="selection"[^>]* action="([^"]+)">', page.text) == [DELETE]
    asked = await browser.get(DELETE, params=selected(desk, lamp))
    form = form_of(asked)
    assert form.items() >= selected(lamp, desk).items()
    assert ("Lamp" in asked.text, "Chair" in asked.text) == (True, False)
    assert await stored(ann) == ["Lamp", "Desk", "Chair"]
    deleted = await browser.post(DELETE, data=form)
    assert deleted.headers["Location"] == "/items"
    assert await stored(ann) == ["Chair"]
    assert "2 deleted." in (await browser.get("/items")).text
    again = await browser.post(DELETE, data=form)
    assert again.headers["Location"] == "/items"
    assert "This was deleted already." in (await browser.get("/items")).text


async def test_changed_item_is_named_and_nothing_is_deleted(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    lamp, desk = await make_item(ann, name="Lamp"), await make_item(ann, name="Desk")
    await change(ann, desk, "Table")
    page = await browser.post(DELETE, data=selected(lamp, desk))
    assert page.status_code == 409
    assert await stored(ann) == ["Lamp", "Table"]
    errors = re.findall(r'id="(select-\d+)-error"', page.text)
    assert errors == [f"select-{desk['id']}"]
    # Only the other one is still selected.
    form = form_of(page)
    assert form == selected(lamp) | {"form_owner": str(ann.id), "form_time_zone": "UTC"}
    assert (await browser.post(DELETE, data=form)).status_code == 303
    assert await stored(ann) == ["Table"]


async def test_other_users_item_is_not_found(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    lamp, secret = await make_item(ann), await make_item(bob, name="A secret")
    page = await browser.get(DELETE, params=selected(lamp, secret))
    assert (page.status_code, "A secret" in page.text) == (200, False)
    assert (await browser.post(DELETE, data=selected(lamp, secret))).status_code == 303
    assert (await stored(ann), await stored(bob)) == ([], ["A secret"])


@pytest.mark.parametrize(
    "sent",
    [{}, {"select-x": "1"}, {"select-1": "x"}, {"select-999": "1"}, {f"select-{'9' * 30}": "1"}],
)
async def test_selection_of_nothing_deletes_nothing(
    browser: httpx.AsyncClient, ann: Person, sent: dict[str, str]
) -> None:
    await make_item(ann)
    for response in (await browser.get(DELETE, params=sent), await browser.post(DELETE, data=sent)):
        assert response.headers["Location"] == "/items"
    assert len(await stored(ann)) == 1


async def test_too_many_items_are_refused(browser: httpx.AsyncClient) -> None:
    sent = {f"select-{n}": "1" for n in range(bulk_delete.MAX_SELECTED + 1)}
    for response in (await browser.get(DELETE, params=sent), await browser.post(DELETE, data=sent)):
        assert response.status_code == 422


async def test_form_of_another_account_deletes_nothing(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    lamp = await make_item(ann)
    sent = selected(lamp) | {"form_owner": str(bob.id)}
    assert (await browser.post(DELETE, data=sent)).status_code == 422
    assert len(await stored(ann)) == 1


async def test_two_deletions_of_the_same_items_both_succeed(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    items = [await make_item(ann) for _ in range(5)]
    sent = [selected(*items), selected(*items[::-1])]
    answers = await asyncio.gather(*(browser.post(DELETE, data=each) for each in sent))
    assert [answer.status_code for answer in answers] == [303, 303]
    assert await stored(ann) == []


async def test_list_shows_the_number_of_results(
    browser: httpx.AsyncClient, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_item(bob)
    await ann.client.post(f"{ITEMS}/batch", json=[LAMP | {"name": f"{n:02}"} for n in range(23)])
    page = await browser.get("/items?sort=name")
    for path in ("/items?sort=name", href_of(page, "Next page")):
        assert " data-total>23 items</p>" in (await browser.get(path)).text
    page = await browser.get("/items?q=22")
    assert (names_on(page), " data-total>1 item</p>" in page.text) == (["22"], True)
    monkeypatch.setattr(resource_pages, "MAX_TOTAL", 22)
    assert " data-total>More than 22 items</p>" in (await browser.get("/items")).text


async def test_filter_is_removed_by_its_chip(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/items?q=lamp&min_price=5&is_offer=true&sort=price")
    chips = re.findall(r'(?s)<a class="chip" href="([^"]+)">.*?</span>\s*(.*?)\s*<span', page.text)
    assert [(href.replace("&amp;", "&"), text) for href, text in chips] == [
        ("/items?sort=price&min_price=5&is_offer=true", "Search: <bdi>lamp</bdi>"),
        ("/items?sort=price&q=lamp&is_offer=true", "Min price: <bdi>5</bdi>"),
        ("/items?sort=price&q=lamp&min_price=5", "Offers: <bdi>On offer</bdi>"),
    ]
