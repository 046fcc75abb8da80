"""Tests of items in orders, and of accounts with orders."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from app.features.items.models import Item
from app.features.orders.models import Order, OrderLine
from app.features.orders.repository import OrderRepository
from tests.conftest import PASSWORD, Person, only
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order, read_order
from tests.slices import needs


async def stored_rows(app: FastAPI) -> list[int | None]:
    """Return the number of items, orders and lines."""
    async with app.state.resources.database.reading() as session:
        return [
            await session.scalar(select(func.count()).select_from(model))
            for model in (Item, Order, OrderLine)
        ]


async def test_item_of_an_order_cannot_be_deleted(ann: Person) -> None:
    item = await make_item(ann)
    order = await make_order(ann, (item, 1))
    response = await ann.client.delete(f"/api/v1/items/{item['id']}")
    assert response.status_code == 409
    assert response.json()["type"] == "/problems/in-use"
    assert response.json()["detail"] == "This item is in use and cannot be deleted."
    assert await read_order(ann, order["id"]) == order
    await ann.client.delete(f"{ORDERS}/{order['id']}")
    assert (await ann.client.delete(f"/api/v1/items/{item['id']}")).status_code == 204


@needs("admin.py")
async def test_deletion_of_an_item_of_an_order_in_the_admin_returns_409(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await make_order(ann, (item, 1))
    response = await admin.post("/admin/item/delete", data={f"select-{item['id']}": "on"})
    assert response.status_code == 409
    assert (await ann.client.get(f"/api/v1/items/{item['id']}")).status_code == 200


async def test_item_is_either_ordered_or_deleted_when_both_happen_at_once(
    app: FastAPI, ann: Person
) -> None:
    for _ in range(5):
        item = await make_item(ann)
        body = {"lines": [{"item_id": item["id"], "quantity": 1}]}
        ordered, deleted = await asyncio.gather(
            ann.client.post(ORDERS, json=body), ann.client.delete(f"/api/v1/items/{item['id']}")
        )
        outcome = ordered.status_code, deleted.status_code
        assert outcome in {(201, 409), (422, 204)}
    items, orders, lines = await stored_rows(app)
    assert items == orders == lines


@only("postgresql")  # SQLite locks no rows, and has one transaction that writes at a time.
async def test_item_cannot_be_deleted_between_its_look_up_and_the_insertion_of_a_line(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the line could not be stored, and the form of a new order would be lost."""
    item = await make_item(ann)
    look_up, deletable = OrderRepository.items_by_id, list[int]()
    free = select(Item.id).with_for_update(skip_locked=True)

    async def look_up_and_note(*arguments: Any) -> Any:
        found = await look_up(*arguments)
        async with app.state.resources.database.transaction() as session:
            deletable.extend(await session.scalars(free))
        return found

    monkeypatch.setattr(OrderRepository, "items_by_id", look_up_and_note)
    await make_order(ann, (item, 1))
    assert deletable == []


async def test_deleted_account_deletes_its_items_orders_and_lines(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    lamp, desk = await make_item(ann), await make_item(ann)
    await make_order(ann, (lamp, 1))
    placed = await make_order(ann, (lamp, 2), (desk, 1))
    await change_order(ann, placed["id"], "place")
    theirs = await make_order(bob, (await make_item(bob), 1))
    body = {"current_password": PASSWORD}
    response = await ann.client.request("DELETE", "/api/v1/users/me", json=body)
    assert response.status_code == 204, response.text
    assert await stored_rows(app) == [1, 1, 1]
    assert await read_order(bob, theirs["id"]) == theirs


async def test_account_deleted_by_a_superuser_deletes_its_orders(
    app: FastAPI, ann: Person, root: Person
) -> None:
    await make_order(ann, (await make_item(ann), 1))
    response = await root.client.delete(f"/api/v1/users/{ann.id}")
    assert response.status_code == 204, response.text
    assert await stored_rows(app) == [0, 0, 0]
