import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from app.features.items.repository import ItemRepository
from tests.conftest import Person
from tests.features.items.steps import SORTS, make_item, read_pages

URL = "/api/v1/items"


async def test_list_without_items_is_empty(ann: Person) -> None:
    assert (await ann.client.get(URL)).json() == {"results": [], "next": None}


async def test_user_lists_only_visible_items(ann: Person, bob: Person, root: Person) -> None:
    mine, theirs = await make_item(ann), await make_item(bob)
    assert (await ann.client.get(URL)).json()["results"] == [mine]
    assert (await bob.client.get(URL)).json()["results"] == [theirs]
    assert (await root.client.get(URL)).json()["results"] == [mine, theirs]


@pytest.mark.parametrize("sort", [*SORTS, *(f"-{name}" for name in SORTS)])
async def test_pages_hold_every_item_once_in_every_sort(ann: Person, sort: str) -> None:
    """Many items share a value, so that the tie-break matters."""
    items = [await make_item(ann, name=f"n{n % 3}", price=f"{n % 2}.10") for n in range(7)]
    name = sort.removeprefix("-")
    found = await read_pages(ann, sort=sort, limit=2)
    assert [len(page) for page in found] == [2, 2, 2, 1]
    flat = [item for page in found for item in page]
    expected = sorted(items, key=lambda item: (item[name], item["id"]), reverse=sort != name)
    assert flat == expected


async def test_pages_are_complete_while_others_write(ann: Person) -> None:
    for n in range(4):
        await make_item(ann, name=f"n{n}")
    first = (await ann.client.get(URL, params={"sort": "-name", "limit": 2})).json()
    await make_item(ann, name="n9")  # It sorts before the cursor.
    await ann.client.delete(f"{URL}/{first['results'][-1]['id']}")  # This is the row of the cursor.
    params = {"sort": "-name", "limit": 2, "cursor": first["next"]}
    second = (await ann.client.get(URL, params=params)).json()
    assert [item["name"] for item in second["results"]] == ["n1", "n0"]


@pytest.mark.parametrize("limit", [0, 101, -1, "x", 10**39])
async def test_invalid_limit_returns_422(ann: Person, limit: Any) -> None:
    response = await ann.client.get(URL, params={"limit": limit})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", "limit"]


async def test_changed_cursor_returns_422(ann: Person) -> None:
    for n in range(2):
        await make_item(ann, name=f"n{n}")
    cursor = (await ann.client.get(URL, params={"limit": 1})).json()["next"]
    for position, character in enumerate(cursor):
        other = "A" if character != "A" else "B"
        tampered = cursor[:position] + other + cursor[position + 1 :]
        response = await ann.client.get(URL, params={"limit": 1, "cursor": tampered})
        assert response.status_code == 422, tampered
        assert response.json()["errors"][0]["loc"] == ["query", "cursor"]


@pytest.mark.parametrize("cursor", ["", ".", "x", "é", "W10.", "x" * 5000, "\x00"])
async def test_forged_cursor_returns_422(ann: Person, cursor: str) -> None:
    assert (await ann.client.get(URL, params={"cursor": cursor})).status_code == 422


async def test_cursor_of_another_sort_returns_422(ann: Person) -> None:
    for _ in range(2):
        await make_item(ann)
    cursor = (await ann.client.get(URL, params={"limit": 1})).json()["next"]
    response = await ann.client.get(URL, params={"cursor": cursor, "sort": "-id"})
    assert response.status_code == 422


async def test_cursor_of_the_longest_name_is_accepted(ann: Person) -> None:
    for _ in range(2):
        await make_item(ann, name="\x01" * 255)
    found = await read_pages(ann, sort="name", limit=1)
    assert [len(page) for page in found] == [1, 1]


@pytest.mark.parametrize("sort", ["owner_id", "--id", "", "password_hash", "id "])
async def test_unknown_sort_returns_422(ann: Person, sort: str) -> None:
    response = await ann.client.get(URL, params={"sort": sort})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", "sort"]


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("lamp", ["Lamp", "old lamp"]),
        ("üNÏ", ["Ünï"]),
        ("ΟΔΟΣ", ["οδοσ"]),
        ("100%", ["100%"]),
        ("%", ["100%"]),
        ("_", ["a_b"]),
        ("\\", ["back\\slash"]),
        ("brass", ["Lamp"]),
        ("'", []),
        ("", ["Lamp", "old lamp", "Ünï", "οδοσ", "100%", "a_b", "axb", "back\\slash"]),
    ],
)
async def test_search_is_literal_and_case_insensitive(
    ann: Person, q: str, names: list[str]
) -> None:
    await make_item(ann, name="Lamp", description="BRASS")
    for name in ("old lamp", "Ünï", "οδοσ", "100%", "a_b", "axb", "back\\slash"):
        await make_item(ann, name=name, description=None)
    response = await ann.client.get(URL, params={"q": q})
    assert [item["name"] for item in response.json()["results"]] == names


@pytest.mark.parametrize("q", ["\x00", "x" * 256])
async def test_invalid_search_returns_422(ann: Person, q: str) -> None:
    assert (await ann.client.get(URL, params={"q": q})).status_code == 422


@pytest.mark.parametrize(
    ("params", "prices"),
    [
        ({"min_price": "2"}, ["2.00", "10.00"]),
        ({"max_price": "2.00"}, ["0.10", "2.00"]),
        ({"min_price": 0.1, "max_price": 0.1}, ["0.10"]),
        ({"min_price": 3, "max_price": 1}, []),
        ({"is_offer": "true"}, ["2.00"]),
        ({"is_offer": "false", "q": "lamp"}, ["0.10", "10.00"]),
    ],
)
async def test_filters_limit_the_list(
    ann: Person, params: dict[str, Any], prices: list[str]
) -> None:
    for price in ("0.10", "2", "10"):
        await make_item(ann, price=price, is_offer=price == "2")
    response = await ann.client.get(URL, params=params | {"with_total": True})
    assert [item["price"] for item in response.json()["results"]] == prices
    assert response.json()["total"] == len(prices)


@pytest.mark.parametrize(
    "params",
    [{"min_price": "NaN"}, {"max_price": "1.999"}, {"min_price": -1}, {"is_offer": "x"}]
    + [{"owner_id": value} for value in (0, -1, 2**63, "x")],
    ids=str,
)
async def test_invalid_filter_returns_422(root: Person, params: dict[str, Any]) -> None:
    response = await root.client.get(URL, params=params)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", *params]


async def test_total_counts_all_matches(ann: Person) -> None:
    for n in range(3):
        await make_item(ann, name=f"n{n}")
    params: dict[str, Any] = {"limit": 1, "q": "N", "with_total": True}
    assert (await ann.client.get(URL, params=params)).json()["total"] == 3


async def test_owner_filter_is_for_superusers(ann: Person, bob: Person, root: Person) -> None:
    await make_item(ann)
    theirs = await make_item(bob)
    response = await root.client.get(URL, params={"owner_id": bob.id})
    assert response.json()["results"] == [theirs]
    assert (await ann.client.get(URL, params={"owner_id": ann.id})).status_code == 200
    assert (await ann.client.get(URL, params={"owner_id": bob.id})).status_code == 403


async def test_searches_of_one_user_do_not_block_others(
    app: FastAPI, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search for two letters reads every item."""
    searching, end, read = 0, asyncio.Event(), ItemRepository.list

    async def read_slowly(self: ItemRepository, *arguments: Any) -> Any:
        nonlocal searching
        if self.principal.user_id == ann.id:
            searching += 1
            await end.wait()
        return await read(self, *arguments)

    monkeypatch.setattr(ItemRepository, "list", read_slowly)
    searches = [asyncio.create_task(ann.client.get(f"{URL}?q=ab")) for _ in range(20)]
    assert (await bob.client.get(f"{URL}?q=ab")).status_code == 200
    assert searching == 2
    end.set()
    assert {response.status_code for response in await asyncio.gather(*searches)} == {200}
    assert searching == 20


@pytest.mark.parametrize(
    ("sent", "stored", "searches"),
    [
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "\ud55c\uae00", ["\ud55c", "\u1112\u1161\u11ab"]),
        ("Cafe\u0301", "Caf\xe9", ["CAF\xc9", "cafe\u0301", "CAFE\u0301"]),
        ("Caf\xe9", "Caf\xe9", ["cafe\u0301"]),
        ("\u0130zmir \u0131\u015f\u0131k", None, ["\u0130zmir", "\u0131\u015f\u0131k"]),
        ("Stra\xdfe", None, ["stra\xdfe", "STRA"]),
        ("\uff11\uff12\uff13", None, ["\uff12"]),  # NFC keeps digits of full width.
        ("\U0001f469\u200d\U0001f680 Ada", None, ["\U0001f469\u200d\U0001f680", "ada"]),
        ("\u3131\u314f", None, ["\u314f"]),  # Jamo of the keyboard do not combine.
        ("\u0958", "\u0915\u093c", ["\u0958"]),  # NFC makes two characters of it
    ],
)
async def test_text_is_stored_in_nfc_and_found_in_any_form(
    ann: Person, sent: str, stored: str | None, searches: list[str]
) -> None:
    item = await make_item(ann, name=sent, description=sent)
    assert item["name"] == item["description"] == (stored or sent)
    await make_item(ann, name="Other")
    for q in searches:
        (page,) = await read_pages(ann, q=q)
        assert [each["id"] for each in page] == [item["id"]], ascii(q)
