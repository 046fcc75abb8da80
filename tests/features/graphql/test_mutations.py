"""Mutations: each follows the rules of its service, and a document is one unit of work."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from tests.conftest import Person, counted_statements
from tests.features.graphql.steps import GRAPHQL, codes_of, errors_of, post, run
from tests.features.items.steps import make_item
from tests.features.orders.steps import change_order, make_order, read_order

CREATE = "mutation($input: ItemCreate!) { createItem(input: $input) { id price version } }"
UPDATE = """mutation($id: ID!, $input: ItemUpdate!, $version: Int) {
  updateItem(id: $id, input: $input, expectedVersion: $version) { name description version }
}"""


async def read_item(person: Person, item_id: int) -> Any:
    return (await person.client.get(f"/api/v1/items/{item_id}")).json()


async def count_items(person: Person) -> int:
    data = await run(person, "{ items { totalCount } }")
    total: int = data["items"]["totalCount"]
    return total


async def test_item_is_created_changed_and_deleted(ann: Person) -> None:
    created = (await run(ann, CREATE, input={"name": "Lamp", "price": 19.9}))["createItem"]
    assert (created["price"], created["version"]) == ("19.90", 1)
    changes = {"name": "Desk lamp", "description": None}
    changed = await run(ann, UPDATE, id=created["id"], input=changes, version=1)
    assert changed["updateItem"] == {"name": "Desk lamp", "description": None, "version": 2}
    delete = "mutation($id: ID!) { deleteItem(id: $id, expectedVersion: 2) }"
    assert await run(ann, delete, id=created["id"]) == {"deleteItem": created["id"]}
    assert await codes_of(ann, delete, id=created["id"]) == ["not-found"]


async def test_omitted_fields_stay_as_they_are(ann: Person) -> None:
    item = await make_item(ann, description="Brass")
    data = await run(ann, UPDATE, id=item["id"], input={"name": "Chair"})
    assert data["updateItem"] == {"name": "Chair", "description": "Brass", "version": 2}


@pytest.mark.parametrize(
    ("values", "loc"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "Nul\x00"}, ["name"]),
        ({"price": "-0.01"}, ["price"]),
        ({"price": "0.001"}, ["price"]),
        ({"price": "NaN"}, ["price"]),
        ({"price": "99999999999999"}, ["price"]),
    ],
)
async def test_invalid_field_is_named_and_nothing_is_written(
    ann: Person, values: dict[str, Any], loc: list[str]
) -> None:
    (error,) = await errors_of(ann, CREATE, input={"name": "Lamp", "price": "1"} | values)
    assert error["extensions"]["code"] == "validation"
    (field,) = error["extensions"]["errors"]
    assert field["loc"] == loc
    assert await count_items(ann) == 0


async def test_null_for_a_field_that_takes_none_is_invalid(ann: Person) -> None:
    item = await make_item(ann)
    (error,) = await errors_of(ann, UPDATE, id=item["id"], input={"isOffer": None})
    assert error["extensions"]["errors"][0]["loc"] == ["isOffer"]


async def test_stale_version_is_refused(ann: Person) -> None:
    item = await make_item(ann)
    await run(ann, UPDATE, id=item["id"], input={"name": "First"}, version=1)
    (error,) = await errors_of(ann, UPDATE, id=item["id"], input={"name": "Second"}, version=1)
    assert error["extensions"] == {"code": "stale-version"}
    assert error["message"] == "The item has changed. The current version is 2."
    assert (await read_item(ann, item["id"]))["name"] == "First"


async def test_one_of_many_that_expect_one_version_wins(ann: Person) -> None:
    item = await make_item(ann)
    names = [f"Lamp {n}" for n in range(5)]
    responses = await asyncio.gather(
        *(post(ann, UPDATE, id=item["id"], input={"name": name}, version=1) for name in names)
    )
    codes = [each["extensions"]["code"] for r in responses for each in r.json().get("errors", [])]
    assert codes == ["stale-version"] * 4
    assert (await read_item(ann, item["id"]))["version"] == 2


async def test_other_users_item_is_not_found(ann: Person, bob: Person) -> None:
    item = await make_item(bob)
    assert await codes_of(ann, UPDATE, id=item["id"], input={"name": "Mine"}) == ["not-found"]
    delete = "mutation($id: ID!) { deleteItem(id: $id) }"
    assert await codes_of(ann, delete, id=item["id"]) == ["not-found"]
    assert await read_item(bob, item["id"]) == item


async def test_document_is_written_as_a_whole(ann: Person) -> None:
    lamp = 'createItem(input: {name: "Lamp", price: 1}) { id }'
    await run(ann, f"mutation {{ a: {lamp} b: {lamp} c: {lamp} }}")
    assert await count_items(ann) == 3


async def test_first_error_ends_the_document_and_nothing_is_written(
    app: FastAPI, ann: Person
) -> None:
    lamp = 'createItem(input: {name: "Lamp", price: 1}) { id }'
    async with counted_statements(app) as statements:
        response = await post(ann, f'mutation {{ a: {lamp} b: deleteItem(id: "999") c: {lamp} }}')
    assert response.json()["data"] is None
    (error,) = response.json()["errors"]
    assert error["path"] == ["b"]
    assert sum("INSERT INTO items" in each for each in statements) == 1
    assert await count_items(ann) == 0


async def test_error_below_a_mutation_rolls_it_back(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line's item is null where it fails, so the rest of the result is there."""
    item = await make_item(ann)
    order = await make_order(ann, (item, 1))

    async def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr("app.features.items.service.ItemService.get_many", fail)
    query = "mutation($id: ID!) { placeOrder(id: $id) { lines { item { id } } } }"
    response = await post(ann, query, id=order["id"])
    assert response.json()["data"] is None
    assert [each["extensions"]["code"] for each in response.json()["errors"]] == ["internal-error"]
    assert (await read_order(ann, order["id"]))["status"] == "draft"


async def test_mutation_with_a_key_is_run_once(ann: Person) -> None:
    body = {"query": 'mutation { createItem(input: {name: "Lamp", price: 1}) { id } }'}
    headers = {"Idempotency-Key": "8e03978e"}
    first, second = [await ann.client.post(GRAPHQL, json=body, headers=headers) for _ in "12"]
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert await count_items(ann) == 1
    other = {"query": body["query"].replace("Lamp", "Chair")}
    response = await ann.client.post(GRAPHQL, json=other, headers=headers)
    assert response.json()["type"] == "/problems/idempotency-key-reused"


async def test_mutation_that_failed_can_be_sent_again_with_its_key(ann: Person) -> None:
    body = {"query": 'mutation { deleteItem(id: "1") }'}
    headers = {"Idempotency-Key": "8e03978e"}
    for _ in range(2):
        response = await ann.client.post(GRAPHQL, json=body, headers=headers)
        assert response.json()["errors"][0]["extensions"]["code"] == "not-found"
        assert "Idempotency-Replayed" not in response.headers


async def test_field_sees_the_changes_of_the_mutations_before_it(ann: Person) -> None:
    item = await make_item(ann, name="Lamp")
    order = await make_order(ann, (item, 1))
    query = """mutation($item: ID!, $order: ID!) {
      a: updateOrder(id: $order, input: {note: "One"}) { lines { item { name } } }
      b: updateItem(id: $item, input: {name: "Chair"}) { version }
      c: updateOrder(id: $order, input: {note: "Two"}) { lines { item { name } itemName } version }
    }"""
    data = await run(ann, query, item=item["id"], order=order["id"])
    assert data["a"]["lines"] == [{"item": {"name": "Lamp"}}]
    assert data["c"]["lines"] == [{"item": {"name": "Chair"}, "itemName": "Chair"}]
    assert data["c"]["version"] == 3


async def test_order_is_drafted_changed_placed_and_shipped(ann: Person, root: Person) -> None:
    lamp, chair = await make_item(ann, price="2.50"), await make_item(ann, price="10")
    create = """mutation($lines: [OrderLineInput!]!) {
      createOrder(input: {lines: $lines}) { id number status total version }
    }"""
    lines = [{"itemId": lamp["id"], "quantity": 2}]
    order = (await run(ann, create, lines=lines))["createOrder"]
    assert (order["number"], order["status"], order["total"]) == (1, "DRAFT", "5.00")
    update = """mutation($id: ID!, $lines: [OrderLineInput!]) {
      updateOrder(id: $id, input: {note: "Ring twice.", lines: $lines}, expectedVersion: 1) {
        note total version
      }
    }"""
    lines.append({"itemId": chair["id"], "quantity": 1})
    changed = (await run(ann, update, id=order["id"], lines=lines))["updateOrder"]
    assert changed == {"note": "Ring twice.", "total": "15.00", "version": 2}
    place = "mutation($id: ID!) { placeOrder(id: $id, expectedVersion: 2) { status placedAt } }"
    placed = (await run(ann, place, id=order["id"]))["placeOrder"]
    assert placed["status"] == "PLACED"
    assert placed["placedAt"] is not None
    ship = "mutation($id: ID!) { shipOrder(id: $id) { status } }"
    assert await codes_of(ann, ship, id=order["id"]) == ["forbidden"]
    assert await run(root, ship, id=order["id"]) == {"shipOrder": {"status": "SHIPPED"}}


async def test_draft_without_lines_is_created_and_deleted(ann: Person) -> None:
    order = (await run(ann, "mutation { createOrder(input: {}) { id } }"))["createOrder"]
    delete = "mutation($id: ID!) { deleteOrder(id: $id) }"
    assert await run(ann, delete, id=order["id"]) == {"deleteOrder": order["id"]}
    assert await codes_of(ann, delete, id=order["id"]) == ["not-found"]


async def test_wrong_status_is_refused(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    await change_order(ann, order["id"], "place")
    for change in ("deleteOrder(id: $id)", "updateOrder(id: $id, input: {}) { id }"):
        query = f"mutation($id: ID!) {{ {change} }}"
        assert await codes_of(ann, query, id=order["id"]) == ["wrong-status"]


async def test_item_in_an_order_stays(ann: Person) -> None:
    item = await make_item(ann)
    await make_order(ann, (item, 1))
    query = "mutation($id: ID!) { deleteItem(id: $id) }"
    assert await codes_of(ann, query, id=item["id"]) == ["in-use"]
    assert await count_items(ann) == 1


async def test_line_of_another_users_item_is_named(ann: Person, bob: Person) -> None:
    item = await make_item(bob)
    query = """mutation($id: ID!) {
      createOrder(input: {lines: [{itemId: $id, quantity: 1}]}) { id }
    }"""
    (error,) = await errors_of(ann, query, id=item["id"])
    assert error["extensions"]["code"] == "validation"
    assert error["extensions"]["errors"][0]["loc"] == ["lines", 0, "itemId"]
