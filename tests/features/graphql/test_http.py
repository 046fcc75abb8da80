"""GraphQL over HTTP: methods, media types, malformed requests, and errors of the server."""

import json
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.errors import DatabaseUnavailable
from tests.conftest import Person
from tests.features.graphql.steps import GRAPHQL, post, run
from tests.features.items.steps import make_item

QUERY = "{ items { totalCount } }"
GRAPHQL_JSON = "application/graphql-response+json"


async def test_query_by_get_is_run(ann: Person) -> None:
    await make_item(ann)
    params = {
        "query": "query a($first: Int!) { items(first: $first) { totalCount } } query b { b }",
        "variables": '{"first": 5}',
        "operationName": "a",
    }
    response = await ann.client.get(GRAPHQL, params=params)
    assert response.json()["errors"][0]["message"].startswith("Cannot query field 'b'")
    params["query"] = params["query"].replace("{ b }", "{ __typename }")
    response = await ann.client.get(GRAPHQL, params=params)
    assert response.json() == {"data": {"items": {"totalCount": 1}}}
    assert response.headers["Cache-Control"] == "no-store"


async def test_mutation_by_get_is_refused_and_nothing_is_written(ann: Person) -> None:
    query = 'mutation { createItem(input: {name: "Lamp", price: 1}) { id } }'
    response = await ann.client.get(GRAPHQL, params={"query": query})
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.json()["type"] == "/problems/method-not-allowed"
    assert (await ann.client.get("/api/v1/items")).json()["results"] == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None],
)
async def test_body_of_another_type_is_refused(ann: Person, content_type: str | None) -> None:
    """A page of another site could send these without asking (CSRF)."""
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"query": "mutation { createOrder(input: {}) { id } }"})
    response = await ann.client.post(GRAPHQL, content=body, headers=headers)
    assert response.status_code in (415, 422)
    assert await run(ann, "{ orders { totalCount } }") == {"orders": {"totalCount": 0}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"{}",
        b'{"query": null}',
        b'{"query": ""}',
        b'{"query": 7}',
        b'{"query": "{ __typename }", "variables": []}',
        b'{"query": "{ __typename }", "variables": "{}"}',
        b'{"query": "{ __typename }", "operationName": 7}',
        b'{"query": "{ __typename }", "unknown": 1}',
        b'[{"query": "{ __typename }"}, {"query": "{ __typename }"}]',
        json.dumps({"query": "#" * 20_001}).encode(),
    ],
)
async def test_malformed_request_returns_422(ann: Person, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = await ann.client.post(GRAPHQL, content=body, headers=headers)
    assert response.status_code == 422
    assert response.json()["type"] == "/problems/validation"


@pytest.mark.parametrize("params", ["", "query=", "query=%7Ba%7D&variables=%7B", "query=a&b=c"])
async def test_malformed_query_string_returns_422(ann: Person, params: str) -> None:
    assert (await ann.client.get(f"{GRAPHQL}?{params}")).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ unknown }",
        "{ items }",
        "{ items { edges { node { secret } } } }",
        "{ ...missing }",
        "{ ...a } fragment a on Query { ...a }",
        "{ ...a } fragment a on Unknown { b }",
        "query a { __typename } query b { __typename }",
        "query($first: Int!) { items(first: $first) { totalCount } }",
        "query($a: [Int!]) { items(first: $a) { totalCount } }",
        "subscription { items { totalCount } }",
        "fragment a on Query { __typename }",
        '{ items(first: "x") { totalCount } }',
        "{ items(first: 99999999999) { totalCount } }",
        f"{{ items(first: {'9' * 5000}) {{ totalCount }} }}",
        f"query($a: Int! = {'9' * 5000}) {{ items(first: $a) {{ totalCount }} }}",
        "{ items(filter: {minPrice: [1]}) { totalCount } }",
        '{ items(filter: {minPrice: "x"}) { totalCount } }',
        "{ items(sort: nothing) { totalCount } }",
        "mutation { createItem(input: {}) { id } }",
        "{ items @defer { totalCount } }",
    ],
)
async def test_invalid_document_is_not_run(ann: Person, query: str) -> None:
    for accept, status in (("application/json", 200), (GRAPHQL_JSON, 400)):
        response = await ann.client.post(GRAPHQL, json={"query": query}, headers={"Accept": accept})
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == accept
        body = response.json()
        assert "data" not in body
        assert {error["extensions"]["code"] for error in body["errors"]} == {"bad-request"}


async def test_names_of_the_schema_are_not_suggested(ann: Person) -> None:
    (error,) = (await post(ann, "{ itemz { totalCount } }")).json()["errors"]
    assert error["message"] == "Cannot query field 'itemz' on type 'Query'."


async def test_invalid_variable_is_not_run(ann: Person) -> None:
    query = "query($input: ItemFilter) { items(filter: $input) { totalCount } }"
    values: list[Any] = [{"minPrice": "x"}, {"minPrice": {}}, {"unknown": 1}, 7]
    for value in values:
        response = await post(ann, query, input=value)
        (error,) = response.json()["errors"]
        assert error["extensions"] == {"code": "bad-request"}


async def test_error_that_cites_half_a_surrogate_pair_is_sent(ann: Person) -> None:
    body = b'{"query": "query($id: ID!) { item(id: $id) { id } }", "variables": {"id": "\\ud800"}}'
    headers = {"Content-Type": "application/json"}
    response = await ann.client.post(GRAPHQL, content=body, headers=headers)
    assert response.json()["errors"][0]["message"] == "Item Not Found (id: \ud800)"


@pytest.mark.parametrize("value", [[1] * 9_999, [{"a": 1}] * 4_999])
async def test_number_of_values_in_variables_is_limited(ann: Person, value: list[Any]) -> None:
    query = "query($unused: Int) { __typename }"
    for given, status in ((value, 200), ([*value, *value[:2]], 422)):
        assert (await post(ann, query, a=given)).status_code == status


async def test_errors_of_fields_are_a_part_of_the_result(ann: Person) -> None:
    response = await ann.client.post(
        GRAPHQL, json={"query": '{ item(id: "7") { id } }'}, headers={"Accept": GRAPHQL_JSON}
    )
    assert response.status_code == 200
    assert response.json() == {
        "data": {"item": None},
        "errors": [
            {
                "message": "Item Not Found (id: 7)",
                "locations": [{"line": 1, "column": 3}],
                "path": ["item"],
                "extensions": {"code": "not-found"},
            }
        ],
    }


async def test_unexpected_error_is_logged_with_the_request_id_and_not_shown(
    ann: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("the secret")

    monkeypatch.setattr("app.features.items.service.ItemService.get", fail)
    response = await ann.client.post(
        GRAPHQL, json={"query": '{ item(id: "7") { id } }'}, headers={"X-Request-ID": "abc"}
    )
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "internal-error", "requestId": "abc"}
    assert "secret" not in response.text
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.name == "app.error"
    assert record.exc_info
    assert str(record.exc_info[1]) == "the secret"


async def test_refused_requests_are_not_logged_as_errors(
    ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    await post(ann, '{ item(id: "7") { id } unknown }')
    await post(ann, '{ item(id: "7") { id } items(first: 0) { totalCount } }')
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_unavailable_database_returns_503(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("The database is not reachable.")

    monkeypatch.setattr("app.features.items.service.ItemService.list", fail)
    response = await post(ann, QUERY)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert response.json()["type"] == "/problems/database-unavailable"


async def test_body_beyond_the_limit_returns_413(app: FastAPI, ann: Person) -> None:
    body = json.dumps({"query": "{ __typename }", "variables": {"a": "x" * 2**20}})
    headers = {"Content-Type": "application/json"}
    response: httpx.Response = await ann.client.post(GRAPHQL, content=body, headers=headers)
    assert response.status_code == 413
