"""Bounds on documents: depth, aliases, tokens and cost; and introspection by setting."""

import pytest
from graphql import GraphQLError, parse

from app.features.graphql.router.graphql_schema import GRAPHQL_SCHEMA
from app.features.graphql.router.limits import MAX_COST, require_low_cost
from tests.conftest import Person, make_person, make_settings, running
from tests.features.graphql.steps import errors_of, run

EDGES = "fragment a on ItemConnection { edges { cursor } }"
LINES = "{ edges { node { lines { quantity item { id } } } } }"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ " + " ".join(f"a{n}: __typename" for n in range(20)) + " }", None),
        (
            "{ " + " ".join(f"a{n}: __typename" for n in range(21)) + " }",
            "21 aliases found. Allowed: 20",
        ),
        (
            "{ " + "__typename " * 1000 + "}",
            "Syntax Error: Document contains more than 1000 tokens. Parsing aborted.",
        ),
    ],
)
async def test_document_beyond_a_limit_is_refused(
    ann: Person, query: str, message: str | None
) -> None:
    if message is None:
        await run(ann, query)
    else:
        (error,) = await errors_of(ann, query)
        assert error["message"] == message
        assert error["extensions"] == {"code": "bad-request"}


def cost_of(query: str, **variables: object) -> int:
    """Return the cost that the refusal names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.features.graphql.router.limits.MAX_COST", -1)
        with pytest.raises(GraphQLError) as error:
            require_low_cost(GRAPHQL_SCHEMA, parse(query), variables)
    return int(error.value.message.split()[4].replace(",", ""))


@pytest.mark.parametrize(
    ("query", "variables", "cost"),
    [
        ("{ __typename }", {}, 1),
        ("{ item(id: 1) { id name } }", {}, 3),
        # The list, its edges, and of each its node and the node's two fields.
        ("{ items(first: 5) { edges { node { id name } } } }", {}, 2 + 5 * 3),
        ("{ items { edges { node { id name } } } }", {}, 2 + 20 * 3),
        ("query($n: Int!) { items(first: $n) { edges { cursor } } }", {"n": 7}, 2 + 7),
        ("query($n: Int! = 7) { items(first: $n) { edges { cursor } } }", {}, 2 + 7),
        # What is no valid size is counted as the largest.
        ("query($n: Int!) { items(first: $n) { edges { cursor } } }", {}, 2 + 100),
        ("query($n: Int!) { items(first: $n) { edges { cursor } } }", {"n": -9}, 2 + 100),
        ("query($n: Int!) { items(first: $n) { edges { cursor } } }", {"n": "x"}, 2 + 100),
        ("{ items(first: -9) { edges { cursor } } }", {}, 2 + 100),
        ("{ items(first: 5) { totalCount pageInfo { endCursor } } }", {}, 4),
        # An order has up to 100 lines.
        ("{ orders(first: 5) " + LINES + " }", {}, 2 + 5 * (2 + 100 * 3)),
        ("{ order(id: 1) { lines { quantity } } }", {}, 2 + 100),
        ("{ ...on Query { items(first: 5) { ...a } } } " + EDGES, {}, 2 + 5),
        ("{ __schema { types { name } } }", {}, 3),
    ],
)  # fmt: skip
def test_cost_is_the_number_of_fields_of_the_largest_result(
    query: str, variables: dict[str, object], cost: int
) -> None:
    assert cost_of(query, **variables) == cost


async def test_query_beyond_the_cost_is_refused(ann: Person) -> None:
    await run(ann, f"{{ orders {LINES} }}")
    (error,) = await errors_of(ann, f"{{ orders(first: 100) {LINES} }}")
    assert error["message"].startswith("The result could have 30,202 fields")
    assert error["extensions"] == {"code": "bad-request"}


@pytest.mark.parametrize("operation", ["{ ...f0 }", "query a { __typename } query b { ...f0 }"])
async def test_fragments_that_multiply_are_refused_at_once(ann: Person, operation: str) -> None:
    fragments = [f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(80)]
    query = f"{operation} {' '.join(fragments)} fragment f80 on Query {{ __typename }}"
    response = await ann.client.post(
        "/api/v1/graphql", json={"query": query, "operationName": "a" if "a" in operation else None}
    )
    (error,) = response.json()["errors"]
    assert error["message"].startswith(f"The result could have {2**80:,} fields")


async def test_depth_is_limited(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.features.graphql.router.graphql_schema.MAX_DEPTH", 3)
    errors = await errors_of(ann, f"{{ orders(first: 1) {LINES} }}")
    assert {each["message"] for each in errors} == {
        "'anonymous' exceeds maximum operation depth of 3"
    }
    await run(ann, "{ orders(first: 1) { edges { node { number } } } }")


@pytest.mark.parametrize("is_enabled", [True, False])
async def test_introspection_follows_the_setting(
    database_url: str, password_hash: str, is_enabled: bool
) -> None:
    settings = make_settings(database_url, graphiql_enabled=is_enabled)
    async with running(settings) as app:
        ann = await make_person(app, password_hash, "ann")
        query = '{ __type(name: "Item") { fields { name } } }'
        if is_enabled:
            assert {"name": "isOffer"} in (await run(ann, query))["__type"]["fields"]
        else:
            errors = await errors_of(ann, query)
            assert all("introspection has been disabled" in each["message"] for each in errors)
        assert await run(ann, "{ __typename }") == {"__typename": "Query"}


def test_limits_admit_a_default_page_of_orders_with_all_fields() -> None:
    line = "itemId itemName quantity unitPrice total item { id name price }"
    query = f"{{ orders {{ edges {{ node {{ id number lines {{ {line} }} }} }} }} }}"
    assert cost_of(query) < MAX_COST
