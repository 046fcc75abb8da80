"""Queries: items, orders, their lines, and pages."""

import asyncio

import pytest
from fastapi import FastAPI

from app.features.graphql import dependencies
from app.features.graphql.router.types import OrderLine
from app.features.orders.schemas import OrderLineRead
from tests.conftest import Person, counted_statements
from tests.features.graphql.steps import codes_of, errors_of, run
from tests.features.items.steps import make_item
from tests.features.orders.steps import make_order

LINES = """{ orders { edges { node {
  number total lines { quantity total unitPrice itemName item { id name price } }
} } } }"""


async def test_item_has_the_values_of_the_rest_api(ann: Person) -> None:
    item = await make_item(ann, name="Lamp", price="19.90", description="Brass")
    query = """query($id: ID!) { item(id: $id) {
      id name description price isOffer ownerId createdAt updatedAt version
    } }"""
    found = (await run(ann, query, id=item["id"]))["item"]
    assert found["createdAt"].replace("+00:00", "Z") == item["created_at"]
    assert (found["id"], found["price"]) == (str(item["id"]), "19.90")
    assert (found["name"], found["description"]) == ("Lamp", "Brass")
    assert (found["isOffer"], found["version"]) == (item["is_offer"], 1)
    assert found["ownerId"] == str(item["owner_id"])


async def test_order_has_its_lines_with_items(ann: Person) -> None:
    lamp, chair = await make_item(ann, price="2.50"), await make_item(ann, name="Chair")
    order = await make_order(ann, (lamp, 2), (chair, 1), note="Ring twice.")
    query = """query($id: ID!) { order(id: $id) {
      number status note placedAt lines { quantity item { name } }
    } }"""
    assert (await run(ann, query, id=order["id"]))["order"] == {
        "number": 1,
        "status": "DRAFT",
        "note": "Ring twice.",
        "placedAt": None,
        "lines": [
            {"quantity": 2, "item": {"name": lamp["name"]}},
            {"quantity": 1, "item": {"name": "Chair"}},
        ],
    }


@pytest.mark.parametrize("sort", ["ID", "NAME_DESC", "PRICE", "CREATED_AT_DESC"])
async def test_pages_have_all_items_once_and_in_order(ann: Person, sort: str) -> None:
    for n in range(5):
        await make_item(ann, name=f"Lamp {n}", price=str(n % 2))
    query = """query($after: String, $first: Int!, $sort: ItemSort!) {
      items(first: $first, after: $after, sort: $sort) {
        edges { cursor node { id } } totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }"""
    whole = (await run(ann, query, first=100, sort=sort))["items"]
    assert not whole["pageInfo"]["hasNextPage"]
    found, after = [], None
    while True:
        page = (await run(ann, query, first=2, after=after, sort=sort))["items"]
        assert page["totalCount"] == 5
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        found += page["edges"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert found == whole["edges"]
    assert len(found) == 5


async def test_cursor_of_the_rest_api_continues_in_graphql(ann: Person) -> None:
    items = [await make_item(ann, name=f"Lamp {n}") for n in range(3)]
    page = (await ann.client.get("/api/v1/items", params={"limit": 2})).json()
    query = "query($after: String) { items(after: $after) { edges { node { id } } } }"
    data = await run(ann, query, after=page["next"])
    assert data["items"]["edges"] == [{"node": {"id": str(items[2]["id"])}}]


async def test_list_of_no_items_has_no_cursors(ann: Person) -> None:
    data = await run(ann, "{ items { edges { cursor } pageInfo { startCursor endCursor } } }")
    assert data["items"] == {"edges": [], "pageInfo": {"startCursor": None, "endCursor": None}}


async def test_filters_narrow_the_lists(ann: Person) -> None:
    await make_item(ann, name="Lamp", price="5")
    chair = await make_item(ann, name="Chair", price="10")
    draft = await make_order(ann, (chair, 1))
    query = """{
      items(filter: {q: "CHAIR", minPrice: "9.99", maxPrice: 10}) { edges { node { name } } }
      drafts: orders(filter: {status: DRAFT}) { totalCount edges { node { id } } }
      shipped: orders(filter: {status: SHIPPED}) { totalCount edges { node { id } } }
    }"""
    assert await run(ann, query) == {
        "items": {"edges": [{"node": {"name": "Chair"}}]},
        "drafts": {"totalCount": 1, "edges": [{"node": {"id": str(draft["id"])}}]},
        "shipped": {"totalCount": 0, "edges": []},
    }


async def test_other_users_rows_are_not_found(ann: Person, bob: Person) -> None:
    item = await make_item(bob)
    order = await make_order(bob, (item, 1))
    query = """query($item: ID!, $order: ID!) {
      item(id: $item) { id } order(id: $order) { id }
      items { totalCount } orders { totalCount }
    }"""
    response = await errors_of(ann, query, item=item["id"], order=order["id"])
    assert {(*error["path"], error["extensions"]["code"]) for error in response} == {
        ("item", "not-found"),
        ("order", "not-found"),
    }
    assert await run(ann, "{ items { totalCount } orders { totalCount } }") == {
        "items": {"totalCount": 0},
        "orders": {"totalCount": 0},
    }


async def test_superuser_sees_the_rows_of_all_users(ann: Person, root: Person) -> None:
    await make_order(ann, (await make_item(ann, name="Lamp"), 1))
    data = await run(root, LINES)
    (edge,) = data["orders"]["edges"]
    assert edge["node"]["lines"][0]["item"]["name"] == "Lamp"


@pytest.mark.parametrize("id_", ["0", "-1", "x", "", "1.5", "٣", str(2**63), "9" * 5000])
async def test_id_that_cannot_exist_is_not_found(ann: Person, id_: str) -> None:
    query = "query($id: ID!) { item(id: $id) { id } order(id: $id) { id } }"
    assert await codes_of(ann, query, id=id_) == ["not-found", "not-found"]


@pytest.mark.parametrize(
    ("arguments", "loc"),
    [
        ("first: 0", ["first"]),
        ("first: 101", ["first"]),
        ('after: "forged"', ["after"]),
        ('filter: {minPrice: "-1"}', ["minPrice"]),
        ('filter: {q: "\\u0000"}', ["q"]),
        ('filter: {ownerId: "x"}', ["ownerId"]),
    ],
)
async def test_invalid_argument_is_named(ann: Person, arguments: str, loc: list[str]) -> None:
    (error,) = await errors_of(ann, f"{{ items({arguments}) {{ totalCount }} }}")
    assert error["extensions"]["code"] == "validation"
    (field,) = error["extensions"]["errors"]
    assert field["loc"] == loc
    assert error["path"] == ["items"]


async def test_cursor_of_another_sort_is_refused(ann: Person) -> None:
    await make_item(ann)
    data = await run(ann, "{ items(sort: NAME) { pageInfo { endCursor } } }")
    after = data["items"]["pageInfo"]["endCursor"]
    query = "query($after: String) { items(after: $after) { totalCount } }"
    assert await codes_of(ann, query, after=after) == ["validation"]


async def test_owner_filter_takes_the_scope_of_all_items(ann: Person, bob: Person) -> None:
    query = f'{{ items(filter: {{ownerId: "{bob.id}"}}) {{ totalCount }} }}'
    assert await codes_of(ann, query) == ["forbidden"]


@pytest.mark.parametrize("count", [1, 8])
async def test_statements_do_not_grow_with_orders_and_lines(
    app: FastAPI, ann: Person, count: int
) -> None:
    items = [await make_item(ann, name=f"Lamp {n}") for n in range(count)]
    for _ in range(count):
        await make_order(ann, *((item, 2) for item in items))
    async with counted_statements(app) as statements:
        data = await run(ann, LINES.replace("orders {", f"orders(first: {count}) {{"))
    assert len(data["orders"]["edges"]) == count
    assert all(len(edge["node"]["lines"]) == count for edge in data["orders"]["edges"])
    assert len(statements) == 3  # They read the orders, their lines, and the items of all lines.


@pytest.mark.parametrize(("elements", "turns"), [(1000, 1), (2, 5)])
async def test_long_nested_lists_let_other_requests_run(
    ann: Person, monkeypatch: pytest.MonkeyPatch, elements: int, turns: int
) -> None:
    """The lists of eight orders, of one line each, are resolved in several turns of the loop."""
    turn, seen, resolve = 0, set[int](), OrderLine.of

    def of(line: OrderLineRead) -> OrderLine:
        seen.add(turn)
        return resolve(line)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    item = await make_item(ann)
    for _ in range(8):
        await make_order(ann, (item, 1))
    monkeypatch.setattr(dependencies, "ITEMS_PER_STATEMENT", elements)
    monkeypatch.setattr(OrderLine, "of", of)
    counting = asyncio.create_task(count_turns())
    await run(ann, LINES.replace("orders {", "orders(first: 8) {"))
    counting.cancel()
    assert len(seen) == turns


async def test_many_sibling_fields_share_the_session(ann: Person) -> None:
    items = [await make_item(ann, name=f"Lamp {n}") for n in range(8)]
    for item in items:
        await make_order(ann, (item, 1))
    lines = "{ totalCount edges { node { lines { item { name } } } } }"
    fields = [
        f'i{n}: item(id: "{item["id"]}") {{ name }} o{n}: orders(first: 5) {lines}'
        for n, item in enumerate(items)
    ]
    data = await run(ann, f"{{ {' '.join(fields)} items {{ totalCount }} }}")
    assert [data[f"i{n}"]["name"] for n in range(8)] == [f"Lamp {n}" for n in range(8)]
    assert {data[f"o{n}"]["totalCount"] for n in range(8)} == {8}
    assert data["items"]["totalCount"] == 8
