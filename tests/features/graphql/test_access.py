"""Authentication and scopes, which are those of the REST API."""

import httpx
import pytest
from fastapi import FastAPI

from tests.accounts.steps import make_api_key
from tests.conftest import Person, client_of, make_settings, running, sign_in
from tests.features.graphql.steps import GRAPHQL, run
from tests.features.items.steps import make_item
from tests.features.orders.steps import make_order
from tests.slices import needs

BOTH = "{ items { totalCount } orders { totalCount } }"


@pytest.mark.parametrize("token", [None, "forged"])
async def test_request_without_a_valid_token_returns_401(app: FastAPI, token: str | None) -> None:
    async with client_of(app, token) as client:
        for response in (
            await client.post(GRAPHQL, json={"query": "{ __typename }"}),
            await client.get(GRAPHQL, params={"query": "{ __typename }"}),
        ):
            assert response.status_code == 401
            assert response.json()["type"] == "/problems/unauthenticated"
            assert response.headers["WWW-Authenticate"].startswith("Bearer")


@needs("pages.py")
async def test_cookie_is_not_accepted_from_other_sites(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    for site in ("cross-site", "same-site", "none"):
        response = await browser.post(
            GRAPHQL,
            json={"query": "mutation { createOrder(input: {}) { id } }"},
            headers={"Sec-Fetch-Site": site, "Origin": "https://evil.example"},
        )
        assert response.status_code == 401
    assert await run(ann, "{ orders { totalCount } }") == {"orders": {"totalCount": 0}}


async def test_missing_scope_is_an_error_of_its_fields_only(app: FastAPI, ann: Person) -> None:
    await make_item(ann)
    key = (await make_api_key(ann, scopes=["items:read"]))["key"]
    async with client_of(app, key) as client:
        response = await client.post(GRAPHQL, json={"query": BOTH})
    assert response.status_code == 200
    assert response.json()["data"] == {"items": {"totalCount": 1}, "orders": None}
    (error,) = response.json()["errors"]
    assert error["message"] == "The access token lacks the scope orders:read."
    assert (error["path"], error["extensions"]) == (["orders"], {"code": "missing-scope"})


async def test_item_of_a_line_takes_the_scope_of_items(app: FastAPI, ann: Person) -> None:
    await make_order(ann, (await make_item(ann, name="Lamp"), 1))
    key = (await make_api_key(ann, scopes=["orders:read"]))["key"]
    query = "{ orders { edges { node { lines { itemName item { id } } } } } }"
    async with client_of(app, key) as client:
        body = (await client.post(GRAPHQL, json={"query": query})).json()
    (edge,) = body["data"]["orders"]["edges"]
    assert edge["node"]["lines"] == [{"itemName": "Lamp", "item": None}]
    assert [error["extensions"]["code"] for error in body["errors"]] == ["missing-scope"]


MUTATIONS = [
    'createItem(input: {name: "Lamp", price: 1}) { id }',
    'updateItem(id: "1", input: {name: "Lamp"}) { id }',
    'deleteItem(id: "1")',
    "createOrder(input: {}) { id }",
    'updateOrder(id: "1", input: {}) { id }',
    'deleteOrder(id: "1")',
    'placeOrder(id: "1") { id }',
    'shipOrder(id: "1") { id }',
]


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_mutation_takes_the_scope_to_write(app: FastAPI, ann: Person, mutation: str) -> None:
    key = (await make_api_key(ann, scopes=["items:read", "orders:read"]))["key"]
    async with client_of(app, key) as client:
        body = (await client.post(GRAPHQL, json={"query": f"mutation {{ {mutation} }}"})).json()
    assert body["data"] is None
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "missing-scope"}
    resource = "items" if "Item" in mutation else "orders"
    assert error["message"] == f"The access token lacks the scope {resource}:write."


@pytest.mark.parametrize("query", ["{ items { totalCount } }", "{ orders { totalCount } }"])
async def test_query_takes_the_scope_to_read(app: FastAPI, ann: Person, query: str) -> None:
    key = (await make_api_key(ann, scopes=["items:write", "orders:write"]))["key"]
    async with client_of(app, key) as client:
        body = (await client.post(GRAPHQL, json={"query": query})).json()
    assert [error["extensions"]["code"] for error in body["errors"]] == ["missing-scope"]


async def test_ended_session_is_refused(ann: Person) -> None:
    await run(ann, "{ items { totalCount } }")
    await ann.client.post("/api/v1/auth/revoke", data={"token": ann.token})
    response = await ann.client.post(GRAPHQL, json={"query": "{ items { totalCount } }"})
    assert response.status_code == 401


async def test_rate_limit_counts_requests_of_graphql(database_url: str, password_hash: str) -> None:
    settings = make_settings(database_url, rate_limit_default="2/hour")
    async with running(settings) as app, client_of(app) as client:
        statuses = [
            (await client.post(GRAPHQL, json={"query": "{ a }"})).status_code for _ in "123"
        ]
    assert statuses == [401, 401, 429]
