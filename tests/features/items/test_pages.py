"""The pages of items. The service has tests of its own."""

import asyncio
import json
import re
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.errors import Stale
from app.features.items.service import ItemService
from tests.accounts.conftest import described
from tests.conftest import Person, browser_of, counted_statements, sign_in
from tests.features.items.feed import connecting, refused
from tests.features.items.pages import names_on
from tests.features.items.steps import ITEMS, LAMP, make_item
from tests.forms import form_of
from tests.pages import SCRIPT, action_of, focused_fields, href_of, value_of
from tests.slices import needs

FORM = {"name": "Lamp", "price": "19.99", "description": "Brass", "is_offer": "true"}
SAME_ORIGIN = {"Origin": "http://localhost"}


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def stored(person: Person, item_id: int) -> dict[str, Any]:
    found: dict[str, Any] = (await person.client.get(f"{ITEMS}/{item_id}")).json()
    return found


async def test_navigation_links_to_the_items(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/items")
    assert '<a href="/items" aria-current="page">Items</a>' in page.text
    assert "No items yet" in page.text


async def test_item_is_created_edited_and_deleted(browser: httpx.AsyncClient, ann: Person) -> None:
    new = await browser.get("/items/new")
    for words in ("Name", "Price", "Description", "On offer"):
        assert f"{words}</label>" in new.text
    assert focused_fields(new.text) == ["name"]
    created = await browser.post("/items/new", data=FORM)
    assert (created.status_code, created.headers["Location"]) == (303, "/items")
    page = await browser.get(created.headers["Location"])
    assert "“Lamp” created." in page.text
    assert names_on(page) == ["Lamp"]
    item = (await ann.client.get(ITEMS)).json()["results"][0]
    assert item.items() >= LAMP.items()
    edit = await browser.get(f"/items/{item['id']}/edit")
    assert (value_of(edit, "name"), value_of(edit, "price"), value_of(edit, "version")) == (
        "Lamp",
        "19.99",
        "1",
    )
    assert "checked" in edit.text
    assert ">\nBrass</textarea>" in edit.text
    form = {"name": "Desk", "price": "5", "description": "", "version": "1"}
    saved = await browser.post(f"/items/{item['id']}/edit", data=form)
    assert saved.headers["Location"] == "/items"
    changed = await stored(ann, item["id"])
    expected = {"name": "Desk", "price": "5.00", "description": None, "is_offer": False}
    assert changed.items() >= (expected | {"version": 2}).items()
    asked = await browser.get(f"/items/{item['id']}/delete")
    assert "Desk" in asked.text
    form = form_of(asked)
    deleted = await browser.post(f"/items/{item['id']}/delete", data=form)
    assert deleted.headers["Location"] == "/items"
    assert names_on(await browser.get("/items")) == []
    assert (await browser.post(f"/items/{item['id']}/delete", data=form)).status_code == 404


@pytest.mark.parametrize(
    ("name", "sent", "words"),
    [
        ("name", "", "Please fill this in."),
        ("name", "x" * 256, "At most 255 characters."),
        ("name", "a\x00b", "Remove the characters that cannot be stored."),
        ("price", "", "Please fill this in."),
        ("price", "cheap", "Enter a number such as 19.99."),
        ("price", "nan", "Enter a number such as 19.99."),
        ("price", "-1", "At least 0."),
        ("price", "1.234", "At most 2 digits after the point."),
        ("price", "12345678901", "At most 10 digits before the point."),
    ],
)
async def test_invalid_field_is_refused_beside_it(
    browser: httpx.AsyncClient, ann: Person, name: str, sent: str, words: str
) -> None:
    item = await make_item(ann)
    for path in ("/items/new", f"/items/{item['id']}/edit"):
        page = await browser.post(path, data=FORM | {name: sent, "version": "1"})
        assert page.status_code == 422
        assert described(page.text, name) == words
        assert focused_fields(page.text) == [name]
        assert value_of(page, name) == sent
        assert "Brass</textarea>" in page.text
    assert value_of(page, "version") == "1"
    assert (await ann.client.get(ITEMS)).json()["results"] == [item]


async def test_invalid_fields_all_have_an_error(browser: httpx.AsyncClient) -> None:
    form = {"name": "", "price": "x", "description": "d" * 10_001, "is_offer": "perhaps"}
    page = await browser.post("/items/new", data=form)
    assert (page.status_code, page.text.count('class="error"')) == (422, 4)
    assert focused_fields(page.text) == ["name"]


async def test_form_submitted_twice_creates_one_item(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    form = FORM | {"once": value_of(await browser.get("/items/new"), "once")}
    refused = await browser.post("/items/new", data=form | {"price": ""})
    assert value_of(refused, "once") == form["once"]
    for posted in await asyncio.gather(*(browser.post("/items/new", data=form) for _ in range(5))):
        assert (posted.status_code, posted.headers["Location"]) == (303, "/items")
    assert names_on(await browser.get("/items")) == ["Lamp"]
    # Another item is created with other values, from a reloaded page, or by another user.
    await browser.post("/items/new", data=form | {"name": "Desk"})
    await browser.post(
        "/items/new", data=form | {"once": value_of(await browser.get("/items/new"), "once")}
    )
    assert names_on(await browser.get("/items")) == ["Lamp", "Desk", "Lamp"]
    await browser.post("/logout")
    await sign_in(browser, bob)
    await browser.post("/items/new", data=form)
    assert names_on(await browser.get("/items")) == ["Lamp"]


async def test_form_submitted_again_after_an_error_creates_the_item(
    browser: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORM | {"once": "a key"}
    with monkeypatch.context() as patch:
        patch.setattr(ItemService, "create", failing)
        assert (await browser.post("/items/new", data=form)).status_code == 412
    assert (await browser.post("/items/new", data=form)).status_code == 303
    assert names_on(await browser.get("/items")) == ["Lamp"]


async def failing(*_: Any) -> None:
    raise Stale("Not now.")


@pytest.mark.parametrize("text", ["\U0001f989" * 10_000, "two\nlines\n" * 1000])
async def test_longest_description_is_accepted(
    browser: httpx.AsyncClient, ann: Person, text: str
) -> None:
    """It is sent as browsers do: as multipart, and with CRLF as a line break."""
    parts = {name: (None, sent) for name, sent in FORM.items()}
    parts["description"] = (None, text.replace("\n", "\r\n"))
    assert (await browser.post("/items/new", files=parts)).status_code == 303
    (item,) = (await ann.client.get(ITEMS)).json()["results"]
    assert item["description"] == text


async def test_stale_version_shows_both_versions(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann)
    path = f"/items/{item['id']}/edit"
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"name": "Theirs", "price": "7"})
    mine = FORM | {"name": "Mine", "version": "1"}
    page = await browser.post(path, data=mine)
    assert page.status_code == 409
    assert (value_of(page, "name"), value_of(page, "price")) == ("Mine", "19.99")
    assert "Theirs</dd>" in page.text
    assert "7.00</dd>" in page.text
    assert href_of(page, "Keep the current version") == path
    assert (await stored(ann, item["id"]))["name"] == "Theirs"
    # The page has the current version, so that saving it again overwrites what the page shows.
    assert value_of(page, "version") == "2"
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"name": "Theirs again"})
    again = await browser.post(path, data=mine | {"version": "2"})
    assert (again.status_code, value_of(again, "version")) == (409, "3")
    assert "Theirs again</dd>" in again.text
    assert (await browser.post(path, data=mine | {"version": "3"})).status_code == 303
    assert (await stored(ann, item["id"])).items() >= {"name": "Mine", "version": 4}.items()


async def test_conflict_marks_the_fields_that_differ(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann, description="Brass", is_offer=True)
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"price": "1"})
    form = FORM | {"name": "Mine", "version": "1"}
    page = await browser.post(f"/items/{item['id']}/edit", data=form)
    found = re.findall(r"<dt>(.*?) (<span class=\"badge\">Differs</span>)?\s*</dt>", page.text)
    assert [label for label, badge in found if badge] == ["Name", "Price"]
    assert len(found) == 4


@pytest.mark.parametrize("query", ["q=lamp&sort=name", "sort=-price&cursor={cursor}"])
async def test_saved_item_leads_back_to_the_list_as_it_was(
    browser: httpx.AsyncClient, ann: Person, query: str
) -> None:
    batch = [FORM | {"name": f"Lamp {n}"} for n in range(25)]
    await ann.client.post(f"{ITEMS}/batch", json=batch)
    second = href_of(await browser.get("/items?sort=-price"), "Next page")
    cursor = re.findall("cursor=([^&]+)", second)[0]
    url = f"/items?{query.format(cursor=cursor)}"
    page = await browser.get(url)
    edit = unescape(re.findall(r'href="(/items/\d+/edit[^"]*)"', page.text)[0])
    opened = await browser.get(edit)
    assert href_of(opened, "Cancel") == url
    invalid = await browser.post(edit, data=form_of(opened) | {"price": "cheap"})
    saved = await browser.post(action_of(invalid), data=form_of(opened) | {"name": "Mine"})
    assert saved.headers["Location"] == url
    item_id = re.findall(r"/items/(\d+)/", edit)[0]
    assert (
        f'<div class="notice" role="status" data-record="{item_id}">'
        in (await browser.get(saved.headers["Location"])).text
    )
    asked = await browser.get(href_of(opened, "Delete…"))
    deleted = await browser.post(action_of(asked), data=form_of(asked) | {"version": "2"})
    assert deleted.headers["Location"] == url


async def test_selection_is_deleted_from_the_list_as_it_was(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    page = await browser.get("/items?q=lamp")
    (hidden,) = re.findall(r'<input type="hidden" name="q" value="(.*?)">', page.text)
    selected = {f"select-{item['id']}": "1", "q": hidden}
    asked = await browser.get("/items/delete", params=selected)
    deleted = await browser.post(action_of(asked), data=form_of(asked))
    assert deleted.headers["Location"] == "/items?q=lamp"


async def test_form_saved_twice_is_no_conflict(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann)
    for _ in range(2):
        form = FORM | {"name": "Mine", "version": "1"}
        saved = await browser.post(f"/items/{item['id']}/edit", data=form)
        assert saved.headers["Location"] == "/items"
    assert (await stored(ann, item["id"]))["version"] == 2


async def test_change_is_undone_and_done_again(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann, description='Brass\nwith "green" shade', is_offer=True)
    path = f"/items/{item['id']}/edit"
    await browser.post(path, data={"name": "Mine", "price": "5", "version": "1"})
    mine = await stored(ann, item["id"])
    for version, expected in ((3, item), (4, mine)):
        page = await browser.get("/items")
        assert "Undo</button>" in page.text
        undone = await browser.post(path, data=form_of(page))
        assert (undone.status_code, undone.headers["Location"]) == (303, "/items")
        changed = ("version", "updated_at")
        assert await stored(ann, item["id"]) == expected | {
            name: (await stored(ann, item["id"]))[name] for name in changed
        }
        assert (await stored(ann, item["id"]))["version"] == version


async def change(browser: httpx.AsyncClient, item_id: int) -> tuple[str, dict[str, str]]:
    """Change a new item, and return the path and the fields of the form that undoes it."""
    path = f"/items/{item_id}/edit"
    await browser.post(path, data=FORM | {"name": "Mine", "version": "1"})
    return path, form_of(await browser.get("/items"))


async def test_undo_after_another_change_is_a_conflict(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    path, form = await change(browser, item["id"])
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"price": "7"})
    refused = await browser.post(path, data=form)
    assert (refused.status_code, value_of(refused, "name")) == (409, item["name"])
    assert (await stored(ann, item["id"]))["name"] == "Mine"


async def test_undo_sent_twice_at_once_is_done_once(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    path, form = await change(browser, item["id"])
    undone = await asyncio.gather(*(browser.post(path, data=form) for _ in range(2)))
    assert [each.status_code for each in undone] == [303, 303]
    assert (await stored(ann, item["id"])).items() >= {"name": item["name"], "version": 3}.items()


async def test_undo_of_another_user_changes_nothing(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    item = await make_item(ann)
    path, form = await change(browser, item["id"])
    await sign_in(browser, bob)
    assert (await browser.post(path, data=form)).status_code == 404
    assert (await stored(ann, item["id"]))["name"] == "Mine"


@pytest.mark.parametrize(
    ("description", "changes"),
    [("x" * 1200, {"name": "Mine"}), ("가" * 400, {"name": "Mine"}), ("Brass", {})],
    ids=["long", "long in bytes", "unchanged"],
)
async def test_change_without_undo_is_saved(
    browser: httpx.AsyncClient, ann: Person, description: str, changes: dict[str, str]
) -> None:
    item = await make_item(ann, description=description)
    path = f"/items/{item['id']}/edit"
    form = form_of(await browser.get(path)) | changes
    assert (await browser.post(path, data=form)).status_code == 303
    page = await browser.get("/items")
    assert ("saved." in page.text, "Undo" in page.text) == (True, False)


@pytest.mark.parametrize("version", [None, "", "0", "-1", "2", "1.0", "*", "9" * 30, "\x00"])
async def test_invalid_version_changes_nothing(
    browser: httpx.AsyncClient, ann: Person, version: str | None
) -> None:
    item = await make_item(ann)
    form = FORM | {"name": "Mine"} | ({} if version is None else {"version": version})
    assert (await browser.post(f"/items/{item['id']}/edit", data=form)).status_code == 409
    refused = await browser.post(f"/items/{item['id']}/delete", data=form)
    assert (refused.status_code, value_of(refused, "version")) == (409, "1")
    assert await stored(ann, item["id"]) == item


async def test_stale_version_is_not_deleted(browser: httpx.AsyncClient, ann: Person) -> None:
    item = await make_item(ann)
    await ann.client.patch(f"{ITEMS}/{item['id']}", json={"name": "Theirs"})
    page = await browser.post(f"/items/{item['id']}/delete", data={"version": "1"})
    assert (page.status_code, value_of(page, "version")) == (409, "2")
    assert "This has changed since you opened it." in page.text
    assert "Theirs" in page.text


async def test_other_users_item_returns_404(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    item = await make_item(bob, name="A secret")
    assert names_on(await browser.get("/items")) == []
    for item_id in (item["id"], 999, 10**30, 0):
        for what in ("edit", "delete"):
            page = await browser.get(f"/items/{item_id}/{what}")
            assert (page.status_code, "A secret" in page.text) == (404, False)
            for form in (FORM | {"version": "1"}, {}):
                page = await browser.post(f"/items/{item_id}/{what}", data=form)
                assert (page.status_code, "A secret" in page.text) == (404, False)
    assert await stored(bob, item["id"]) == item
    assert (await browser.get("/items/x/edit")).status_code == 404
    assert (await browser.get("/items", params={"owner_id": bob.id})).status_code == 422


async def test_superuser_sees_the_owners(app: FastAPI, ann: Person, root: Person) -> None:
    await make_item(ann)
    await make_item(root, name="Own")
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        page = await browser.get("/items")
    assert names_on(page) == ["Own", "Lamp"]
    assert re.findall(r"Account (\d+)", page.text) == [str(ann.id)]


async def test_visitor_is_led_to_the_sign_in(app: FastAPI, ann: Person) -> None:
    item = await make_item(ann)
    async with browser_of(app) as stranger:
        page = await stranger.get("/items?q=a&sort=name")
        assert page.headers["Location"] == "/login?next=/items%3Fq%3Da%26sort%3Dname"
        for path in ("new", "export?format=csv", f"{item['id']}/edit", f"{item['id']}/delete"):
            assert (await stranger.get(f"/items/{path}")).headers["Location"][:7] == "/login?"
        for path in ("new", f"{item['id']}/edit", f"{item['id']}/delete"):
            posted = await stranger.post(f"/items/{path}", data=FORM | {"version": "1"})
            assert posted.headers["Location"] == "/login"
    assert (await ann.client.get(ITEMS)).json()["results"] == [item]


@pytest.mark.parametrize("origin", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": ""}])
async def test_form_of_another_site_returns_403(
    browser: httpx.AsyncClient, ann: Person, origin: dict[str, str]
) -> None:
    item = await make_item(ann)
    for path in ("new", f"{item['id']}/edit", f"{item['id']}/delete"):
        form = FORM | {"name": "Evil", "version": "1"}
        page = await browser.post(f"/items/{path}", data=form, headers=origin)
        assert page.status_code == 403
    assert (await ann.client.get(ITEMS)).json()["results"] == [item]


@pytest.mark.parametrize(
    "text", [SCRIPT, '" onmouseover="alert(1)', "</textarea><script>", "{{ 7*7 }}"]
)
async def test_text_of_items_is_escaped(browser: httpx.AsyncClient, ann: Person, text: str) -> None:
    item = await make_item(ann, name=text, description=text)
    path = f"/items/{item['id']}"
    form = {"name": text, "price": text, "description": text, "is_offer": text, "version": text}
    pages = [
        await browser.get("/items"),
        await browser.get("/items", params={"q": text}),
        await browser.get(f"{path}/edit"),
        await browser.get(f"{path}/delete"),
        await browser.post("/items/new", data=form),
        await browser.post(f"{path}/edit", data=form),
        await browser.post(
            f"{path}/edit", data=form | {"price": "1", "is_offer": "", "version": "7"}
        ),
        await browser.post(f"{path}/delete", data=form),
    ]
    pages += [
        await browser.get("/items", params={name: text})
        for name in ("min_price", "max_price", "is_offer", "sort", "cursor")
    ]
    for page in pages:
        assert page.status_code in (200, 409, 422)
        assert not re.search(r"<script>|<[^>]* onmouseover=\"|>49<", page.text)
        # No text has broken out of an attribute: the quotes in each tag come in pairs.
        assert all(tag.count('"') % 2 == 0 for tag in re.findall("<[^>]*>", page.text))
    assert names_on(pages[0]) == names_on(pages[1]) == [text]


@pytest.mark.parametrize("name", ["x" * 255, "  ", "שלום", "\U0001f989" * 255, "a\nb\t'\"\\%_"])
async def test_unusual_name_is_shown_unchanged(
    browser: httpx.AsyncClient, ann: Person, name: str
) -> None:
    item = await make_item(ann, name=name)
    assert names_on(await browser.get("/items")) == [name if name.strip() else "No name"]
    assert value_of(await browser.get(f"/items/{item['id']}/edit"), "name") == name


async def test_list_is_searched_and_filtered(browser: httpx.AsyncClient, ann: Person) -> None:
    await make_item(ann, name="Lamp", price="10", is_offer=True)
    await make_item(ann, name="Desk", price="20", is_offer=False, description=None)
    for query, found in (
        ("q=LAMP", ["Lamp"]),
        ("q=&min_price=&max_price=&is_offer=", ["Desk", "Lamp"]),  # The form is empty.
        ("min_price=11", ["Desk"]),
        ("max_price=10.00&q=", ["Lamp"]),
        ("is_offer=false", ["Desk"]),
        ("utm_source=elsewhere", ["Desk", "Lamp"]),
    ):
        assert names_on(await browser.get(f"/items?{query}")) == found
    page = await browser.get("/items?q=lamp&is_offer=true&sort=price")
    assert value_of(page, "q") == "lamp"
    assert '<option value="true" selected>' in page.text
    assert '<option value="price" selected>' in page.text
    none = await browser.get("/items?q=nothing")
    assert ("No items match." in none.text, href_of(none, "Show all")) == (True, "/items")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("min_price=x", "Enter a number such as 19.99."),
        ("max_price=-1", "At least 0."),
        ("q=%00", "Remove the characters"),
    ],
)
async def test_invalid_filter_is_refused_beside_its_field(
    browser: httpx.AsyncClient, query: str, words: str
) -> None:
    page = await browser.get(f"/items?{query}")
    assert page.status_code == 422
    assert words in described(page.text, query.partition("=")[0])
    assert focused_fields(page.text) == [query.partition("=")[0]]


@pytest.mark.parametrize(
    "query",
    ["sort=colour", "sort=--id&before=x", "cursor=x", "before=a.b", "limit=0", "owner_id=x"],
)
async def test_invalid_list_returns_422(browser: httpx.AsyncClient, query: str) -> None:
    page = await browser.get(f"/items?{query}")
    assert (page.status_code, 'role="alert"' in page.text) == (422, True)


async def test_column_headings_sort(browser: httpx.AsyncClient, ann: Person) -> None:
    for name, price in (("B", "3"), ("C", "1"), ("A", "2")):
        await make_item(ann, name=name, price=price)
    page = await browser.get("/items?q=brass")
    assert names_on(page) == ["A", "C", "B"]
    assert re.findall('aria-sort="([^"]+)"', page.text) == ["descending"]
    for head, first, second in (
        ("Name", "ABC", "CBA"),
        ("Price", "CAB", "BAC"),
        ("Added", "ACB", "BCA"),
        ("Changed", "ACB", "BCA"),
    ):
        href = "/items?q=brass&sort=name" if head == "Added" else href_of(page, head)
        page = await browser.get(href)
        if head == "Added":
            page = await browser.get(href_of(page, head))
        assert "".join(names_on(page)) == first
        orders = re.findall('aria-sort="([^"]+)"', page.text)
        page = await browser.get(href_of(page, head))
        assert "".join(names_on(page)) == second
        orders += re.findall('aria-sort="([^"]+)"', page.text)
        assert sorted(orders) == ["ascending", "descending"]
        assert value_of(page, "q") == "brass"


@pytest.mark.parametrize("sort", ["", "id", "name", "-price", "updated_at", "-created_at"])
async def test_pages_lead_forward_and_back(
    browser: httpx.AsyncClient, ann: Person, sort: str
) -> None:
    batch = [LAMP | {"name": f"{n:02}", "price": str(n % 3)} for n in range(45)]
    await ann.client.post(f"{ITEMS}/batch", json=batch)
    page = await browser.get(f"/items?sort={sort}&q=brass")
    assert "Previous page" not in page.text
    assert "First page" not in page.text
    there = [names_on(page)]
    for _ in range(2):
        page = await browser.get(href_of(page, "Next page"))
        there.append(names_on(page))
    assert "Next page" not in page.text
    assert [len(each) for each in there] == [20, 20, 5]
    found = [name for names_of_page in there for name in names_of_page]
    assert sorted(found) == [item["name"] for item in batch]
    assert sort != "name" or found == sorted(found)
    assert names_on(await browser.get(href_of(page, "First page"))) == there[0]
    back = [names_on(page)]
    for _ in range(2):
        page = await browser.get(href_of(page, "Previous page"))
        back.append(names_on(page))
    assert "Previous page" not in page.text
    assert back == there[::-1]
    assert names_on(await browser.get(href_of(page, "Next page"))) == there[1]


async def test_previous_page_that_was_deleted_shows_the_current_one(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    for n in range(3):
        await make_item(ann, name=str(n))
    first = await browser.get("/items?sort=name&limit=2")
    second = await browser.get(href_of(first, "Next page"))
    back = href_of(second, "Previous page")
    for item in (await ann.client.get(ITEMS)).json()["results"][:2]:
        await ann.client.delete(f"{ITEMS}/{item['id']}")
    gone = await browser.get(back)
    assert (names_on(gone), "Previous page" in gone.text) == (["2"], False)
    item = (await ann.client.get(ITEMS)).json()["results"][0]
    await ann.client.delete(f"{ITEMS}/{item['id']}")
    empty = await browser.get(href_of(first, "Next page"))
    assert ("There are no more items." in empty.text, href_of(empty, "First page")) == (
        True,
        "/items?sort=name",
    )


async def test_list_needs_one_statement_and_one_to_count_the_other_pages(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await ann.client.post(f"{ITEMS}/batch", json=[LAMP] * 20)
    async with counted_statements(app) as of_only_page:
        await browser.get("/items")
    assert len(of_only_page) == 1
    await ann.client.post(f"{ITEMS}/batch", json=[LAMP] * 25)
    async with counted_statements(app) as of_api:
        await ann.client.get(ITEMS)
    async with counted_statements(app) as of_page:
        first = await browser.get("/items")
    async with counted_statements(app) as of_next:
        second = await browser.get(href_of(first, "Next page"))
    async with counted_statements(app) as of_previous:
        assert names_on(await browser.get(href_of(second, "Previous page"))) == names_on(first)
    assert len(of_api) == 1
    assert len(of_page) == len(of_next) == len(of_previous) == 2


async def test_list_is_small(browser: httpx.AsyncClient, ann: Person) -> None:
    """The limit includes all files that the page loads."""
    long = [
        LAMP | {"name": f"{n} {SCRIPT}" * 3, "description": f"{n} Brass" * 30} for n in range(21)
    ]
    await ann.client.post(f"{ITEMS}/batch", json=long)
    page = await browser.get("/items")
    assert len(names_on(page)) == 20
    files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))
    assert len(files) == 4
    sizes = []
    for path in ("/items", *files):
        async with browser.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as response:
            sizes.append(sum([len(chunk) async for chunk in response.aiter_raw()]))
    assert sum(sizes) < 40_000


async def test_export_equals_that_of_the_api(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await make_item(ann, name="Lamp")
    await make_item(ann, name="Desk", description=None)
    await make_item(bob, name="A secret")
    page = await browser.get("/items?q=LAMP&sort=-name")
    csv = await browser.get(href_of(page, "CSV"))
    assert csv.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
    of_api = await ann.client.get(f"{ITEMS}/export?q=LAMP&sort=-name")
    assert csv.content == of_api.content
    assert csv.text.count("\r\n") == 2
    lines = await browser.get(href_of(await browser.get("/items"), "NDJSON"))
    assert lines.text.count("\n") == 2
    assert (await browser.get("/items/export?format=xml")).status_code == 422


async def test_export_of_a_list_has_filters_as_users_type_them(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await make_item(ann, name="Lamp", price="1234.50")
    await make_item(ann, name="Desk", price="1234.49")
    page = await browser.get("/items", params={"min_price": "$1,234.50"})
    lines = (await browser.get(href_of(page, "NDJSON"))).text.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["Lamp"]


async def cookie_of(browser: httpx.AsyncClient) -> dict[str, str]:
    return {"Cookie": f"auth_session={browser.cookies['auth_session']}"}


@needs("items/live.py")
async def test_feed_accepts_the_cookie(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    cookie = await cookie_of(browser)
    for origin in (
        "http://localhost",
        "http://127.0.0.1:8000",
    ):  # Host, PUBLIC_URL
        async with connecting(app, headers=cookie | {"Origin": origin}) as socket:
            assert (await socket.next())["type"] == "websocket.accept"
            await browser.post("/items/new", data=FORM)
            assert (await socket.receive())["type"] == "item.created"
    async with connecting(app, headers=cookie | SAME_ORIGIN) as socket:
        assert (await socket.next())["type"] == "websocket.accept"
        await browser.post("/logout")
        assert await socket.closed() == 4401
    assert (await refused(app, headers=cookie | SAME_ORIGIN))["status"] == 401


@needs("items/live.py")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost:81"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_feed_refuses_the_cookie_from_other_sites(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, headers: dict[str, str]
) -> None:
    cookie = await cookie_of(browser)
    assert (await refused(app, headers=cookie | headers))["status"] == 403
    # A token takes precedence over the cookie, and is accepted from any origin.
    assert (await refused(app, "nonsense", headers=cookie | SAME_ORIGIN))["status"] == 401
    async with connecting(app, ann.token, headers=cookie | headers) as socket:
        assert (await socket.next())["type"] == "websocket.accept"


async def test_form_and_search_of_the_page_take_any_form_of_a_name(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    created = await browser.post("/items/new", data=FORM | {"name": "Cafe\u0301"})
    assert created.status_code == 303
    (item,) = (await ann.client.get("/api/v1/items")).json()["results"]
    assert item["name"] == "Caf\xe9"
    page = await browser.get("/items", params={"q": "CAFE\u0301"})
    assert "Caf\xe9" in page.text
