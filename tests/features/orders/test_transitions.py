"""The status of an order changes from draft to placed to shipped, and in no other way."""

import httpx

from tests.conftest import Person
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order, read_order


async def attempt(person: Person, order_id: int, action: str) -> httpx.Response:
    return await person.client.post(f"{ORDERS}/{order_id}/{action}")


async def test_draft_is_placed_then_shipped(ann: Person, root: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    placed = await change_order(ann, order["id"], "place")
    assert (placed["status"], placed["version"]) == ("placed", 2)
    assert placed["placed_at"] > order["created_at"]
    shipped = await change_order(root, order["id"], "ship")
    assert (shipped["status"], shipped["version"]) == ("shipped", 3)
    assert shipped["placed_at"] == placed["placed_at"]
    assert shipped["lines"] == order["lines"]
    assert await read_order(ann, order["id"]) == shipped


async def test_invalid_transition_returns_409(ann: Person, root: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    for attempted, then, status, action in (
        ("ship", "place", "draft", "shipped"),
        ("place", "ship", "placed", "placed"),
        ("ship", None, "shipped", "shipped"),
        ("place", None, "shipped", "placed"),
    ):
        response = await attempt(root, order["id"], attempted)
        assert response.status_code == 409
        detail = f'An order with the status "{status}" cannot be {action}.'
        assert response.json()["type"] == "/problems/wrong-status"
        assert response.json()["detail"] == detail
        if then:
            await change_order(root, order["id"], then)
    assert (await read_order(ann, order["id"]))["version"] == 3


async def test_order_without_lines_cannot_be_placed(ann: Person) -> None:
    order = await make_order(ann)
    response = await attempt(ann, order["id"], "place")
    assert response.status_code == 409
    assert response.json()["detail"] == "An order without lines cannot be placed."
    assert await read_order(ann, order["id"]) == order


async def test_ordinary_owner_cannot_ship(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    placed = await change_order(ann, order["id"], "place")
    response = await attempt(ann, order["id"], "ship")
    assert response.status_code == 403
    assert response.json()["detail"] == "Shipping an order requires the scope orders:all."
    assert await read_order(ann, order["id"]) == placed
