"""Tests that the orders of each owner are numbered 1, 2, 3 and so on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.conftest import Person
from tests.features.orders.steps import ORDERS, make_order
from tests.server import sign_up


async def test_orders_are_numbered_per_owner(ann: Person, bob: Person) -> None:
    numbers = [(await make_order(person))["number"] for person in (ann, bob, ann, ann, bob)]
    assert numbers == [1, 1, 2, 3, 2]


async def test_orders_created_at_once_have_unique_numbers_without_gaps(
    ann: Person, bob: Person
) -> None:
    people = [ann, bob] * 10
    orders = await asyncio.gather(*(make_order(person) for person in people))
    for person in (ann, bob):
        numbers = [order["number"] for order in orders if order["owner_id"] == person.id]
        assert sorted(numbers) == list(range(1, 11))


async def test_refused_order_uses_no_number(ann: Person) -> None:
    body = {"lines": [{"item_id": 999, "quantity": 1}]}
    assert (await ann.client.post(ORDERS, json=body)).status_code == 422
    assert (await make_order(ann))["number"] == 1


def test_orders_created_at_once_in_two_processes_have_unique_numbers(
    two_workers: httpx.Client,
) -> None:
    sign_up(two_workers)

    def create(n: int) -> int:
        headers = {"Idempotency-Key": str(n)}
        response = two_workers.post(ORDERS, json={}, headers=headers)
        assert response.status_code == 201, response.text
        number: int = response.json()["number"]
        return number

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(create, range(10))) == list(range(1, 11))
