"""Tests that owners and superusers create, read, change and delete orders."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.accounts.scopes import all_scopes
from tests.conftest import Person, client_of
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order, read_order


async def test_created_order_is_a_draft_with_lines_and_total(ann: Person) -> None:
    lamp, desk = await make_item(ann), await make_item(ann, name="Desk", price="120")
    lines = [{"item_id": desk["id"], "quantity": 1}, {"item_id": lamp["id"], "quantity": 3}]
    response = await ann.client.post(ORDERS, json={"note": "Ring twice.", "lines": lines})
    assert response.status_code == 201
    order = response.json()
    assert response.headers["Location"] == f"{ORDERS}/{order['id']}"
    assert order.pop("created_at") == order.pop("updated_at")
    assert order == {
        "id": order["id"],
        "number": 1,
        "status": "draft",
        "note": "Ring twice.",
        "total": "179.97",
        "owner_id": ann.id,
        "placed_at": None,
        "version": 1,
        "lines": [
            {
                "item_id": desk["id"],
                "item_name": "Desk",
                "quantity": 1,
                "unit_price": "120.00",
                "total": "120.00",
            },
            {
                "item_id": lamp["id"],
                "item_name": "Lamp",
                "quantity": 3,
                "unit_price": "19.99",
                "total": "59.97",
            },
        ],
    }
    assert (await read_order(ann, order["id"])).items() >= order.items()


async def test_order_without_lines_has_a_total_of_zero(ann: Person) -> None:
    order = await make_order(ann)
    assert (order["lines"], order["total"], order["note"]) == ([], "0.00", None)


async def test_largest_order_has_an_exact_total(ann: Person) -> None:
    batch = [{"name": f"Yacht {n}", "price": "9999999999.99"} for n in range(100)]
    items = (await ann.client.post("/api/v1/items/batch", json=batch)).json()
    order = await make_order(ann, *((item, 1000) for item in items))
    assert order["total"] == "999999999999000.00"
    assert await read_order(ann, order["id"]) == order


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"lines": [{"item_id": 1, "quantity": 0}]}, ["body", "lines", 0, "quantity"]),
        ({"lines": [{"item_id": 1, "quantity": 1001}]}, ["body", "lines", 0, "quantity"]),
        ({"lines": [{"item_id": 2**63, "quantity": 1}]}, ["body", "lines", 0, "item_id"]),
        ({"lines": [{"item_id": 1}]}, ["body", "lines", 0, "quantity"]),
        ({"lines": [{"item_id": 1, "quantity": 1}] * 101}, ["body", "lines"]),
        ({"lines": None}, ["body", "lines"]),
        ({"note": "x" * 1001}, ["body", "note"]),
        ({"note": "a\x00b"}, ["body", "note"]),
        ({"status": "placed"}, ["body", "status"]),
        ({"number": 7}, ["body", "number"]),
    ],
)
async def test_invalid_order_returns_422(ann: Person, body: Any, loc: list[Any]) -> None:
    order = await make_order(ann)
    for method, url in (("POST", ORDERS), ("PATCH", f"{ORDERS}/{order['id']}")):
        response = await ann.client.request(method, url, json=body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["loc"] == loc
    assert await read_order(ann, order["id"]) == order


async def test_update_of_the_note_keeps_the_lines(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 2), note="Before")
    response = await ann.client.patch(f"{ORDERS}/{order['id']}", json={"note": None})
    assert response.status_code == 200
    changed = response.json()
    assert (changed["note"], changed["version"]) == (None, 2)
    assert changed["lines"] == order["lines"]
    assert changed["created_at"] == order["created_at"] < changed["updated_at"]
    assert await read_order(ann, order["id"]) == changed


async def test_update_of_the_note_and_the_lines_counts_the_version_once(ann: Person) -> None:
    order = await make_order(ann, note="Before")
    item = await make_item(ann)
    body = {"note": "After", "lines": [{"item_id": item["id"], "quantity": 1}]}
    response = await ann.client.patch(f"{ORDERS}/{order['id']}", json=body)
    assert (response.json()["note"], response.json()["version"]) == ("After", 2)


async def test_update_of_the_lines_keeps_the_note_and_counts_the_version(ann: Person) -> None:
    lamp, desk, chair = [await make_item(ann, name=name) for name in ("Lamp", "Desk", "Chair")]
    order = await make_order(ann, (lamp, 1), (desk, 1), note="Before")
    lines = [{"item_id": chair["id"], "quantity": 5}, {"item_id": lamp["id"], "quantity": 4}]
    response = await ann.client.patch(f"{ORDERS}/{order['id']}", json={"lines": lines})
    changed = response.json()
    assert [(line["item_name"], line["quantity"]) for line in changed["lines"]] == [
        ("Chair", 5),
        ("Lamp", 4),
    ]
    assert (changed["note"], changed["version"]) == ("Before", 2)
    assert order["updated_at"] < changed["updated_at"]
    assert await read_order(ann, order["id"]) == changed


async def test_update_without_fields_changes_nothing(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 2))
    response = await ann.client.patch(f"{ORDERS}/{order['id']}", json={})
    assert response.status_code == 200
    assert response.json() == order
    assert await read_order(ann, order["id"]) == order


async def test_deleted_draft_returns_404(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 2))
    assert (await ann.client.delete(f"{ORDERS}/{order['id']}")).status_code == 204
    assert (await ann.client.get(f"{ORDERS}/{order['id']}")).status_code == 404


async def test_price_of_a_line_stays_when_the_price_of_the_item_changes(ann: Person) -> None:
    lamp, desk = await make_item(ann, price="10"), await make_item(ann, price="20")
    order = await make_order(ann, (lamp, 1))
    for item in (lamp, desk):
        await ann.client.patch(f"/api/v1/items/{item['id']}", json={"price": "99"})
    assert (await read_order(ann, order["id"]))["lines"][0]["unit_price"] == "10.00"
    lines = [{"item_id": lamp["id"], "quantity": 2}, {"item_id": desk["id"], "quantity": 1}]
    response = await ann.client.patch(f"{ORDERS}/{order['id']}", json={"lines": lines})
    prices = [line["unit_price"] for line in response.json()["lines"]]
    assert prices == ["10.00", "99.00"]
    assert response.json()["total"] == "119.00"


async def test_other_users_order_returns_404(ann: Person, bob: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    url = f"{ORDERS}/{order['id']}"
    for method, path, body in (
        ("GET", url, None),
        ("PATCH", url, {"note": "Mine"}),
        ("DELETE", url, None),
        ("POST", f"{url}/place", None),
    ):
        response = await bob.client.request(method, path, json=body)
        assert response.status_code == 404
        assert response.json()["detail"] == f"Order Not Found (id: {order['id']})"
    assert (await bob.client.get(ORDERS)).json()["results"] == []
    assert await read_order(ann, order["id"]) == order


@pytest.mark.parametrize("order_id", [0, -1, 999, 2**63, 2**80])
async def test_unknown_order_returns_404(ann: Person, order_id: int) -> None:
    assert (await ann.client.get(f"{ORDERS}/{order_id}")).status_code == 404
    assert (await ann.client.post(f"{ORDERS}/{order_id}/place")).status_code == 404


async def test_superuser_sees_and_changes_every_order(ann: Person, root: Person) -> None:
    lamp, theirs = await make_item(ann), await make_item(root)
    order = await make_order(ann, (lamp, 1))
    assert await read_order(root, order["id"]) == order
    assert (await root.client.get(ORDERS)).json()["results"] == [order]
    lines = [{"item_id": lamp["id"], "quantity": 7}]
    response = await root.client.patch(f"{ORDERS}/{order['id']}", json={"lines": lines})
    assert response.json()["lines"][0]["quantity"] == 7
    lines = [{"item_id": theirs["id"], "quantity": 1}]
    response = await root.client.patch(f"{ORDERS}/{order['id']}", json={"lines": lines})
    assert response.status_code == 422


async def test_other_users_item_returns_422_with_the_line(
    ann: Person, bob: Person, root: Person
) -> None:
    mine, theirs = await make_item(ann), await make_item(bob)
    for person, items in (
        (ann, [mine, theirs]),
        (ann, [mine, {"id": 999_999}]),
        (root, [mine, theirs]),
    ):
        lines = [{"item_id": item["id"], "quantity": 1} for item in items]
        response = await person.client.post(ORDERS, json={"lines": lines})
        assert response.status_code == 422
        (error,) = response.json()["errors"]
        position = 0 if person is root else 1
        assert error["loc"] == ["body", "lines", position, "item_id"]
        assert error["msg"] == f"There is no item with the id {items[position]['id']}."
        assert (await person.client.get(ORDERS)).json()["results"] == []


async def test_second_line_of_an_item_returns_422(ann: Person) -> None:
    item = await make_item(ann)
    lines = [{"item_id": item["id"], "quantity": 1}] * 2
    response = await ann.client.post(ORDERS, json={"lines": lines})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "lines", 1, "item_id"]


async def test_retry_with_an_idempotency_key_creates_one_order(ann: Person) -> None:
    body = {"lines": [{"item_id": (await make_item(ann))["id"], "quantity": 2}]}
    headers = {"Idempotency-Key": "k"}
    first, retry = [await ann.client.post(ORDERS, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, retry.content) == (201, first.content)
    assert retry.headers["Idempotency-Replayed"] == "true"
    assert len((await ann.client.get(ORDERS)).json()["results"]) == 1


async def test_scopes_of_orders_are_declared_and_required(
    app: FastAPI, ann: Person, password_hash: str
) -> None:
    assert {"orders:read", "orders:write"} <= all_scopes().keys()
    form = {"grant_type": "password", "username": ann.email, "password": "correct horse battery"}
    async with client_of(app) as client:
        answer = await client.post("/api/v1/auth/token", data=form | {"scope": "orders:read"})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        order = await make_order(ann)
        assert (await client.get(f"{ORDERS}/{order['id']}")).status_code == 200
        for method, path in (("POST", ""), ("DELETE", f"/{order['id']}")):
            response = await client.request(method, f"{ORDERS}{path}", json={})
            assert response.status_code == 403
        assert (await client.get("/api/v1/items")).status_code == 403


async def test_anonymous_request_returns_401(app: FastAPI) -> None:
    async with client_of(app) as client:
        assert (await client.get(ORDERS)).status_code == 401


async def test_placed_order_cannot_be_changed_or_deleted(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    placed = await change_order(ann, order["id"], "place")
    for method, body, action in (
        ("PATCH", {"note": "Late"}, "changed"),
        ("PATCH", {"lines": []}, "changed"),
        ("DELETE", None, "deleted"),
    ):
        response = await ann.client.request(method, f"{ORDERS}/{order['id']}", json=body)
        assert response.status_code == 409
        detail = f'An order with the status "placed" cannot be {action}.'
        assert response.json()["detail"] == detail
    assert await read_order(ann, order["id"]) == placed
