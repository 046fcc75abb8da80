"""Lists of orders: pages, sorts, filters and the number of statements."""

import pytest
from fastapi import FastAPI

from tests.conftest import Person, counted_statements
from tests.features.items.steps import make_item
from tests.features.orders.steps import ORDERS, change_order, make_order


@pytest.mark.parametrize("sort", ["id", "-id", "created_at", "-created_at"])
async def test_pages_have_all_orders_once_and_in_order(ann: Person, sort: str) -> None:
    item = await make_item(ann)
    orders = [await make_order(ann, (item, n + 1)) for n in range(5)]
    expected = orders[::-1] if sort.startswith("-") else orders
    found = []
    params: dict[str, str | int] = {"sort": sort, "limit": 2}
    while True:
        response = await ann.client.get(ORDERS, params=params)
        page = response.json()
        found += page["results"]
        assert ("Link" in response.headers) == (page["next"] is not None)
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert found == expected


async def test_status_filters_the_list(ann: Person) -> None:
    item = await make_item(ann)
    drafts, placed = [await make_order(ann)], [await make_order(ann, (item, 1))]
    placed = [await change_order(ann, placed[0]["id"], "place")]
    for status, expected in (("draft", drafts), ("placed", placed), ("shipped", [])):
        response = await ann.client.get(ORDERS, params={"status": status, "with_total": True})
        assert response.json()["results"] == expected
        assert response.json()["total"] == len(expected)


@pytest.mark.parametrize(
    "query", ["status=lost", "status=", "sort=number", "sort=total", "cursor=x.y", "colour=red"]
)
async def test_invalid_query_returns_422(ann: Person, query: str) -> None:
    assert (await ann.client.get(f"{ORDERS}?{query}")).status_code == 422


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (25, 2), (26, 3)])
async def test_list_reads_the_lines_of_25_orders_with_each_statement(
    app: FastAPI, ann: Person, count: int, expected: int
) -> None:
    items = [await make_item(ann, name=f"Lamp {n}") for n in range(3)]
    for _ in range(count):
        await make_order(ann, *((item, 2) for item in items))
    async with counted_statements(app) as statements:
        page = (await ann.client.get(ORDERS, params={"limit": 26})).json()
    assert len(page["results"]) == count
    assert all(len(order["lines"]) == 3 for order in page["results"])
    assert len(statements) == expected  # The first reads the orders, without their lines.
