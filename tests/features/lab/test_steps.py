"""All steps have the same operations and results. Only the number of queries differs."""

import re
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster

from app.features.lab import step1_sync, step2_trap, step3_bridge, step4_async

STEPS = {"step1": step1_sync, "step2": step2_trap, "step3": step3_bridge, "step4": step4_async}


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest, blocking_detector: BlockBuster) -> str:
    if request.param == "step2":  # Its endpoints block the loop on purpose.
        for function in blocking_detector.functions.values():
            function.can_block_in(
                "app/features/lab/step2_trap.py",
                {"create_item", "list_items", "update_item", "delete_item", "report_items"},
            )
    return f"/lab/{request.param}"


async def test_item_is_created_with_its_owner(client: httpx.AsyncClient, step: str) -> None:
    data = {"name": "Lamp", "price": "19.99", "owner_id": 3}
    response = await client.post(f"{step}/items", json=data)
    assert response.status_code == 201
    created = response.json()
    assert created == {
        "id": 101,
        "name": "Lamp",
        "price": "19.99",
        "owner": {"id": 3, "email": "owner3@example.com"},
    }
    changed = await client.patch(f"{step}/items/101", json={})
    assert (changed.status_code, changed.json()) == (200, created)


async def test_item_without_an_owner_returns_422(client: httpx.AsyncClient, step: str) -> None:
    data = {"name": "Lamp", "price": "19.99", "owner_id": 11}
    response = await client.post(f"{step}/items", json=data)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "owner_id"]


async def test_items_are_listed_with_their_owners(client: httpx.AsyncClient, step: str) -> None:
    response = await client.get(f"{step}/items")
    assert response.status_code == 200
    items = response.json()
    assert [item["id"] for item in items] == list(range(1, 11))
    assert items[9]["owner"] == {"id": 10, "email": "owner10@example.com"}


async def test_update_changes_only_the_fields_that_are_sent(
    client: httpx.AsyncClient, step: str
) -> None:
    before = (await client.get(f"{step}/items")).json()[6]
    for change in ({"price": "0.00"}, {"name": "Lamp"}):
        response = await client.patch(f"{step}/items/7", json=change)
        before |= change
        assert (response.status_code, response.json()) == (200, before)
    assert (await client.get(f"{step}/items")).json()[6] == before


async def test_deleted_item_is_gone(client: httpx.AsyncClient, step: str) -> None:
    assert (await client.delete(f"{step}/items/7")).status_code == 204
    assert 7 not in [item["id"] for item in (await client.get(f"{step}/items")).json()]
    for response in (
        await client.delete(f"{step}/items/7"),
        await client.patch(f"{step}/items/7", json={"name": "Lamp"}),
        await client.patch(f"{step}/items/{2**63}", json={"name": "Lamp"}),
    ):
        assert response.status_code == 404


async def test_report_has_the_items_of_all_owners(client: httpx.AsyncClient, step: str) -> None:
    response = await client.get(f"{step}/report")
    assert response.status_code == 200
    owners = response.json()
    assert [owner["email"] for owner in owners] == [f"owner{n}@example.com" for n in range(1, 11)]
    assert [len(owner["items"]) for owner in owners] == [10] * 10
    assert owners[1]["items"][0] == {"id": 2, "name": "Item 1", "price": "1.00"}


async def test_report_needs_two_queries_or_one_for_each_owner(
    client: httpx.AsyncClient, step: str
) -> None:
    """Lazy loading takes one query for the owners and one for each of ten; step 4 takes two."""

    async def queries(path: str) -> Any:
        await client.post("/lab/vitals")
        assert (await client.get(path)).status_code == 200
        return (await client.post("/lab/vitals")).json()["queries"]

    assert await queries(f"{step}/items") == 1
    assert await queries(f"{step}/report") == (2 if step.endswith("step4") else 11)


def test_steps_have_the_same_operations() -> None:
    def operations(module: Any) -> set[tuple[str, str]]:
        return {
            (method, re.sub(r"^/lab/step\d", "", route.path))
            for route in module.router.routes
            for method in route.methods
        }

    assert len(operations(step1_sync)) == 5
    for module in STEPS.values():
        assert operations(module) == operations(step1_sync)
