from typing import Any

import pytest
from fastapi import FastAPI

from tests.conftest import Person, counted_statements
from tests.features.items.steps import LAMP

URL = "/api/v1/items/batch"


async def names(person: Person) -> list[str]:
    page = (await person.client.get("/api/v1/items", params={"limit": 100})).json()
    return [item["name"] for item in page["results"]]


@pytest.mark.parametrize("count", [1, 2, 1000])
async def test_items_are_created_in_the_order_given(ann: Person, count: int) -> None:
    batch = [LAMP | {"name": f"n{n}", "price": n} for n in range(count)]
    response = await ann.client.post(URL, json=batch)
    assert response.status_code == 201
    made = response.json()
    assert [item["name"] for item in made] == [each["name"] for each in batch]
    assert [item["price"] for item in made] == [f"{each['price']}.00" for each in batch]
    assert {(item["owner_id"], item["version"]) for item in made} == {(ann.id, 1)}
    last = made[-1]
    assert last["created_at"] == last["updated_at"]
    assert (await ann.client.get(f"/api/v1/items/{last['id']}")).json() == last
    total = (await ann.client.get("/api/v1/items", params={"with_total": True})).json()["total"]
    assert total == count


async def test_thousand_items_take_ten_statements(app: FastAPI, ann: Person) -> None:
    async with counted_statements(app) as statements:
        await ann.client.post(URL, json=[LAMP, LAMP | {"description": None}] * 500)
    work = [statement for statement in statements if statement != "BEGIN IMMEDIATE"]
    assert [statement.split()[0] for statement in work] == ["INSERT"] * 10


@pytest.mark.parametrize("count", [0, 1001])
async def test_wrong_number_of_items_returns_422(ann: Person, count: int) -> None:
    response = await ann.client.post(URL, json=[LAMP] * count)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body"]
    assert await names(ann) == []


async def test_invalid_items_are_listed_and_none_is_created(ann: Person) -> None:
    batch: list[Any] = [LAMP] * 1000
    batch[3] = LAMP | {"price": -1}
    batch[500] = LAMP | {"name": "", "colour": "red"}
    batch[999] = None
    response = await ann.client.post(URL, json=batch)
    assert response.status_code == 422
    found = [error["loc"] for error in response.json()["errors"]]
    assert found == [
        ["body", 3, "price"],
        ["body", 500, "name"],
        ["body", 500, "colour"],
        ["body", 999],
    ]
    assert await names(ann) == []


async def test_thousand_invalid_items_are_all_named(ann: Person) -> None:
    response = await ann.client.post(URL, json=[{"name": "", "colour": "red"}] * 1000)
    assert response.status_code == 422
    found = [error["loc"][1] for error in response.json()["errors"]]
    assert found == list(range(1000))


@pytest.mark.parametrize("body", [LAMP, None, "x", {"0": LAMP}], ids=str)
async def test_body_that_is_no_list_returns_422(ann: Person, body: Any) -> None:
    assert (await ann.client.post(URL, json=body)).status_code == 422


async def test_item_that_the_database_refuses_rolls_back_all(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skip the validation, so that the database refuses an item."""
    service = "app.features.items.service.ItemCreate.model_dump"
    monkeypatch.setattr(service, lambda each: vars(each) | {"price": 1 - len(each.name)})
    batch = [LAMP | {"name": "x"}, LAMP | {"name": "xx"}]
    response = await ann.client.post(URL, json=batch)
    assert response.status_code == 409
    assert await names(ann) == []


async def test_retry_with_the_same_key_creates_nothing(ann: Person) -> None:
    headers, batch = {"Idempotency-Key": "k"}, [LAMP | {"name": f"n{n}"} for n in range(3)]
    first = await ann.client.post(URL, json=batch, headers=headers)
    assert first.status_code == 201
    retry = await ann.client.post(URL, json=batch, headers=headers)
    assert (retry.status_code, retry.content) == (201, first.content)
    assert retry.headers["Idempotency-Replayed"] == "true"
    other = await ann.client.post(URL, json=batch[:2], headers=headers)
    assert other.status_code == 422
    assert await names(ann) == ["n0", "n1", "n2"]
