"""Requests, as GraphQL over HTTP has them. Batches are not among them."""

from typing import Annotated, Any

from pydantic import Field, Json

from app.core.schemas import Input

MAX_QUERY_LENGTH = 20_000

Document = Annotated[str, Field(min_length=1, max_length=MAX_QUERY_LENGTH)]
OperationName = Annotated[
    str | None, Field(alias="operationName", description="Which operation of several to run.")
]


class GraphqlRequest(Input):
    query: Document = Field(
        description="A document of GraphQL.", examples=["{ items(first: 5) { edges { cursor } } }"]
    )
    variables: dict[str, Any] | None = None
    operation_name: OperationName = None
    extensions: dict[str, Any] | None = Field(
        default=None, description="Ignored: some clients send it."
    )


class GraphqlQuery(Input):
    """A request in the query string, which can only read."""

    query: Document
    variables: Json[dict[str, Any]] | None = Field(default=None, description="An object, in JSON.")
    operation_name: OperationName = None
    extensions: str | None = Field(default=None, description="Ignored: some clients send it.")
