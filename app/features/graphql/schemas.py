"""Requests, as GraphQL over HTTP has them. Batches are not among them."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, Json
from pydantic_core import PydanticCustomError

from app.core.schemas import Input

MAX_QUERY_LENGTH = 20_000
MAX_VALUES = 10_000


def _limit_values(variables: dict[str, Any]) -> dict[str, Any]:
    """Refuse too many values: GraphQL would check each of them on the event loop."""
    count, rest = 0, [*variables.values()]
    while rest:
        value = rest.pop()
        count += 1
        if isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
        if count + len(rest) > MAX_VALUES:
            raise PydanticCustomError(
                "too_many_values", "Send at most {limit} values", {"limit": MAX_VALUES}
            )
    return variables


Variables = Annotated[dict[str, Any], AfterValidator(_limit_values)]
Document = Annotated[str, Field(min_length=1, max_length=MAX_QUERY_LENGTH)]
OperationName = Annotated[
    str | None, Field(alias="operationName", description="Which operation of several to run.")
]


class GraphqlRequest(Input):
    query: Document = Field(
        description="A document of GraphQL.", examples=["{ items(first: 5) { edges { cursor } } }"]
    )
    variables: Variables | None = None
    operation_name: OperationName = None
    extensions: dict[str, Any] | None = Field(
        default=None, description="Ignored: some clients send it."
    )


class GraphqlQuery(Input):
    """A request in the query string, which can only read."""

    query: Document
    variables: Json[Variables] | None = Field(default=None, description="An object, in JSON.")
    operation_name: OperationName = None
    extensions: str | None = Field(default=None, description="Ignored: some clients send it.")
