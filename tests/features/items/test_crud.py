from typing import Any

import pytest
from fastapi import FastAPI

from tests.conftest import Person, client_of, counted_statements
from tests.features.items.steps import LAMP, make_item


async def test_created_item_is_returned_and_stored(ann: Person) -> None:
    response = await ann.client.post("/api/v1/items", json=LAMP)
    assert response.status_code == 201
    item = response.json()
    assert response.headers["Location"] == f"/api/v1/items/{item['id']}"
    assert item.items() >= (LAMP | {"owner_id": ann.id, "version": 1}).items()
    assert item["created_at"] == item["updated_at"]
    assert item["created_at"].endswith("Z")
    assert (await ann.client.get(response.headers["Location"])).json() == item


async def test_omitted_fields_get_their_defaults(ann: Person) -> None:
    response = await ann.client.post("/api/v1/items", json={"name": "x", "price": 0})
    assert response.json().items() >= {"description": None, "is_offer": False}.items()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (19.99, "19.99"),
        ("19.9", "19.90"),
        (7, "7.00"),
        ("-0.00", "0.00"),
        ("9999999999.99", "9999999999.99"),
        ("0.01", "0.01"),
        ("1e3", "1000.00"),
    ],
)
async def test_price_is_exact(ann: Person, sent: Any, stored: str) -> None:
    item = await make_item(ann, price=sent)
    assert item["price"] == stored
    assert (await ann.client.get(f"/api/v1/items/{item['id']}")).json()["price"] == stored


@pytest.mark.parametrize("name", ["x", "x" * 255, "🦉" * 255, "  ", "שלום", "a\nb\t'\"\\%_"])
async def test_name_is_returned_unchanged(ann: Person, name: str) -> None:
    item = await make_item(ann, name=name, description=name)
    read = (await ann.client.get(f"/api/v1/items/{item['id']}")).json()
    assert read["name"] == read["description"] == name


async def test_replace_sets_omitted_fields_to_their_defaults(ann: Person) -> None:
    item = await make_item(ann)
    response = await ann.client.put(
        f"/api/v1/items/{item['id']}", json={"name": "Desk", "price": "5"}
    )
    assert response.status_code == 200
    changed = response.json()
    expected = {"name": "Desk", "price": "5.00", "description": None, "is_offer": False}
    assert changed.items() >= (expected | {"version": 2, "id": item["id"]}).items()
    assert changed["created_at"] == item["created_at"] < changed["updated_at"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Desk"},
        {"price": "0.00"},
        {"is_offer": False},
        {"description": None},
        {"name": "Desk", "price": "1.00", "description": "", "is_offer": False},
    ],
)
async def test_update_changes_only_the_fields_that_are_sent(
    ann: Person, changes: dict[str, Any]
) -> None:
    item = await make_item(ann)
    response = await ann.client.patch(f"/api/v1/items/{item['id']}", json=changes)
    assert response.status_code == 200
    assert response.json() == item | changes | {
        "version": 2,
        "updated_at": response.json()["updated_at"],
    }


async def test_empty_update_changes_nothing(ann: Person) -> None:
    item = await make_item(ann)
    response = await ann.client.patch(f"/api/v1/items/{item['id']}", json={})
    assert response.json() == item


async def test_deleted_item_is_gone(ann: Person) -> None:
    item = await make_item(ann)
    url = f"/api/v1/items/{item['id']}"
    response = await ann.client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "DELETE"):
        response = await ann.client.request(method, url)
        assert response.status_code == 404
        assert response.json()["detail"] == f"Item Not Found (id: {item['id']})"


def every_method(url: str) -> list[tuple[str, str, Any]]:
    return [("GET", url, None), ("PUT", url, LAMP), ("PATCH", url, LAMP), ("DELETE", url, None)]


@pytest.mark.parametrize("item_id", [-1, 0, 7, 2**31, 2**63 - 1, 2**63, 10**39])
async def test_unknown_id_returns_404(ann: Person, item_id: int) -> None:
    for method, url, body in every_method(f"/api/v1/items/{item_id}"):
        response = await ann.client.request(method, url, json=body)
        assert response.status_code == 404, method
        assert response.json()["detail"] == f"Item Not Found (id: {item_id})"


async def test_other_users_item_returns_404(ann: Person, bob: Person) -> None:
    item = await make_item(ann, name="Ann's")
    for method, url, body in every_method(f"/api/v1/items/{item['id']}"):
        response = await bob.client.request(method, url, json=body)
        assert response.status_code == 404, method
    assert (await ann.client.get("/api/v1/items")).json()["results"] == [item]


async def test_superuser_sees_and_changes_every_item(ann: Person, root: Person) -> None:
    item = await make_item(ann)
    url = f"/api/v1/items/{item['id']}"
    assert (await root.client.get(url)).json() == item
    changed = (await root.client.patch(url, json={"price": 1})).json()
    assert changed.items() >= {"price": "1.00", "owner_id": ann.id}.items()
    assert (await root.client.delete(url)).status_code == 204


INVALID_VALUES = [
    {"name": ""},
    {"name": "x" * 256},
    {"name": None},
    {"name": 7},
    {"name": "a\x00b"},
    {"description": "a\x00b"},
    {"description": "x" * 10_001},
    {"price": -0.01},
    {"price": "1.999"},
    {"price": 1.999},
    {"price": 10_000_000_000},
    {"price": "NaN"},
    {"price": "Infinity"},
    {"price": "x"},
    {"price": None},
    {"price": True},
    {"is_offer": None},
    {"is_offer": "maybe"},
    {"owner_id": 7},
    {"id": 7},
    {"colour": "red"},
]


@pytest.mark.parametrize("bad", INVALID_VALUES, ids=str)
async def test_invalid_value_is_named_and_changes_nothing(ann: Person, bad: dict[str, Any]) -> None:
    item = await make_item(ann)
    url = f"/api/v1/items/{item['id']}"
    for method, target, body in (
        ("POST", "/api/v1/items", LAMP | bad),
        ("PUT", url, LAMP | bad),
        ("PATCH", url, bad),
    ):
        response = await ann.client.request(method, target, json=body)
        assert response.status_code == 422, method
        (error,) = response.json()["errors"]
        assert error["loc"][:2] == ["body", *bad]
    assert (await ann.client.get("/api/v1/items")).json()["results"] == [item]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"name": "x", "price": NaN}', 422),
        ('{"name": "x", "price": 1e400}', 422),
        ('{"name": "x", "price": -Infinity}', 422),
        ('{"name": "\\ud800", "price": 1}', 422),
        ('{"\\ud800": 1}', 422),
        ('[{"name": "x", "price": 1}]', 422),
        ("null", 422),
        ("7", 422),
        ("", 422),
        ("{", 422),
        ("[" * 100_000, 400),
        (f'{{"name": "x", "price": {"9" * 5000}}}', 400),
        (b'{"name": "\xff"}', 400),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_malformed_body_is_refused(ann: Person, body: Any, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    response = await ann.client.post("/api/v1/items", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (await ann.client.get("/api/v1/items")).json()["results"] == []


async def test_unsupported_media_type_returns_415(ann: Person) -> None:
    response = await ann.client.post("/api/v1/items", content=b"name=x")
    assert response.status_code == 415
    response = await ann.client.post("/api/v1/items", data={"name": "x"})
    assert response.status_code == 415


@pytest.mark.parametrize("url", ["/api/v1/items/7?verbose=1", "/api/v1/items?color=red"])
async def test_unknown_parameter_returns_422(ann: Person, url: str) -> None:
    response = await ann.client.get(url)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][0] == "query"


async def test_missing_scope_returns_403(app: FastAPI, ann: Person) -> None:
    form = {"grant_type": "password", "username": ann.email, "password": "correct horse battery"}
    response = await ann.client.post("/api/v1/auth/token", data=form | {"scope": "items:read"})
    async with client_of(app, response.json()["access_token"]) as reader:
        assert (await reader.get("/api/v1/items")).status_code == 200
        response = await reader.post("/api/v1/items", json=LAMP)
    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert "items:write" in response.json()["detail"]


async def test_read_needs_one_statement(app: FastAPI, ann: Person) -> None:
    item = await make_item(ann)
    for url in ("/api/v1/items?limit=100", f"/api/v1/items/{item['id']}"):
        async with counted_statements(app) as statements:
            assert (await ann.client.get(url)).status_code == 200
        assert len(statements) == 1, statements


async def test_write_needs_one_statement(app: FastAPI, ann: Person) -> None:
    async with counted_statements(app) as statements:
        item = await make_item(ann)
        await ann.client.patch(f"/api/v1/items/{item['id']}", json={"price": 1})
        await ann.client.delete(f"/api/v1/items/{item['id']}")
    work = [statement.split()[0] for statement in statements if statement != "BEGIN IMMEDIATE"]
    assert work == ["INSERT", "UPDATE", "DELETE"]
