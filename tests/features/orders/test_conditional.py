"""Tests of ETag, If-None-Match and If-Match of orders (RFC 9110, section 13)."""

import asyncio
from collections import Counter
from typing import Any

from fastapi import FastAPI

from tests.conftest import Person, counted_statements
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, make_order, read_order


def writes(order: Any) -> list[tuple[str, str, Any]]:
    url = f"{ORDERS}/{order['id']}"
    return [
        ("PATCH", url, {"note": "Late"}),
        ("PATCH", url, {}),
        ("POST", f"{url}/place", None),
        ("DELETE", url, None),
    ]


async def test_etag_is_the_version_of_the_order(ann: Person, root: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    url = f"{ORDERS}/{order['id']}"
    assert (await ann.client.get(url)).headers["ETag"] == '"1"'
    assert (await ann.client.patch(url, json={"lines": order_lines(order)})).headers[
        "ETag"
    ] == '"2"'
    assert (await ann.client.post(f"{url}/place")).headers["ETag"] == '"3"'
    assert (await root.client.post(f"{url}/ship")).headers["ETag"] == '"4"'


def order_lines(order: Any) -> list[dict[str, int]]:
    return [{"item_id": line["item_id"], "quantity": 9} for line in order["lines"]]


async def test_order_and_its_lines_are_read_by_one_statement(app: FastAPI, ann: Person) -> None:
    """A change between two statements would mix two versions under one ETag."""
    items = [await make_item(ann, name=f"Lamp {number}") for number in range(3)]
    order = await make_order(ann, *((item, 2) for item in items))
    async with counted_statements(app) as statements:
        assert await read_order(ann, order["id"]) == order
    assert len(statements) == 1


async def test_known_version_returns_304(ann: Person) -> None:
    order = await make_order(ann)
    url, headers = f"{ORDERS}/{order['id']}", {"If-None-Match": '"1"'}
    assert (await ann.client.get(url, headers=headers)).status_code == 304
    await ann.client.patch(url, json={"note": "Late"})
    assert (await ann.client.get(url, headers=headers)).status_code == 200


async def test_stale_version_returns_412_and_changes_nothing(ann: Person, root: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    ship = ("POST", f"{ORDERS}/{order['id']}/ship", None)
    for method, url, body in (*writes(order), ship):
        response = await root.client.request(method, url, json=body, headers={"If-Match": '"7"'})
        assert response.status_code == 412, (method, url)
        assert response.json()["detail"] == "The order has changed. The current version is 1."
    assert await read_order(ann, order["id"]) == order


async def test_current_version_is_accepted(ann: Person) -> None:
    item = await make_item(ann)
    for n in range(4):
        order = await make_order(ann, (item, 1))
        method, url, body = writes(order)[n]
        response = await ann.client.request(method, url, json=body, headers={"If-Match": '"1"'})
        assert response.status_code in (200, 204), (method, url)


async def test_one_of_many_writers_with_one_version_wins(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    url, headers = f"{ORDERS}/{order['id']}", {"If-Match": '"1"'}
    responses = await asyncio.gather(
        *(ann.client.patch(url, json={"note": str(n)}, headers=headers) for n in range(5))
    )
    assert Counter(response.status_code for response in responses) == {200: 1, 412: 4}
    (winner,) = [response for response in responses if response.status_code == 200]
    assert await read_order(ann, order["id"]) == winner.json()


async def test_concurrently_placed_order_is_placed_once(ann: Person) -> None:
    order = await make_order(ann, (await make_item(ann), 1))
    responses = await asyncio.gather(
        *(ann.client.post(f"{ORDERS}/{order['id']}/place") for _ in range(5))
    )
    assert Counter(response.status_code for response in responses) == {200: 1, 409: 4}
