"""Steps that the tests of GraphQL share."""

from typing import Any

import httpx

from tests.conftest import Person

GRAPHQL = "/api/v1/graphql"


async def post(person: Person, query: str, **variables: Any) -> httpx.Response:
    return await person.client.post(GRAPHQL, json={"query": query, "variables": variables})


async def run(person: Person, query: str, **variables: Any) -> Any:
    """Run a document that has no errors, and return its data."""
    response = await post(person, query, **variables)
    assert response.status_code == 200, response.text
    assert "errors" not in response.json(), response.text
    return response.json()["data"]


async def errors_of(person: Person, query: str, **variables: Any) -> list[dict[str, Any]]:
    """Run a document that fails, and return its errors."""
    response = await post(person, query, **variables)
    assert response.status_code == 200, response.text
    errors: list[dict[str, Any]] = response.json()["errors"]
    return errors


async def codes_of(person: Person, query: str, **variables: Any) -> list[str]:
    errors = await errors_of(person, query, **variables)
    return [error["extensions"]["code"] for error in errors]
