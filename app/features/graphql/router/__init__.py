"""GraphQL over HTTP: queries by GET and POST, mutations by POST, and no batches.

A query reads on a session that cannot write. A mutation is one unit of work: the changes of all its
fields are committed, or none.
"""

import json
from typing import Annotated, Any

from fastapi import Query, Request, Response
from graphql import (
    DocumentNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)
from starlette.responses import JSONResponse
from strawberry.types import ExecutionResult

from app.accounts.dependencies import PrincipalDep
from app.core.http.idempotency import KEY, IdempotencyKey, idempotency_of
from app.core.http.problem_kinds import KINDS, MEDIA_TYPE, example_of
from app.core.http.problems import ProblemResponse
from app.core.http.routing import ApiRouter
from app.core.resources import Resources, ResourcesDep
from app.core.security.principal import Principal
from app.features.graphql.dependencies import GraphqlContext, graphql_context
from app.features.graphql.router.errors import describe_all, raise_unavailable
from app.features.graphql.router.graphql_schema import GRAPHQL_SCHEMA, schema
from app.features.graphql.router.limits import MAX_TOKENS, require_low_cost
from app.features.graphql.schemas import GraphqlQuery, GraphqlRequest

GRAPHQL_JSON = "application/graphql-response+json"

# The server's limit of the request head, which the address is a part of.
LONG_QUERY: dict[int | str, dict[str, Any]] = {
    431: {
        "description": "Send a long query by POST",
        "content": {MEDIA_TYPE: {"examples": example_of("request-head-too-large")}},
    }
}

router = ApiRouter(prefix="/graphql", tags=["graphql"])


class GraphqlResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()  # ASCII: an error may cite half a surrogate pair.


class Failed(Exception):
    """Rolls back a mutation that has errors."""

    def __init__(self, result: ExecutionResult) -> None:
        self.result = result


@router.post("", response_class=JSONResponse)
async def run_graphql(
    data: GraphqlRequest,
    request: Request,
    principal: PrincipalDep,
    resources: ResourcesDep,
    key: IdempotencyKey = None,
) -> Response:
    """Run a query, or a mutation whose changes are made together or not at all."""
    return await respond(data, request, principal, resources)


@router.get("", response_class=JSONResponse, responses=LONG_QUERY)
async def query_graphql(
    data: Annotated[GraphqlQuery, Query()],
    request: Request,
    principal: PrincipalDep,
    resources: ResourcesDep,
) -> Response:
    """Run a query."""
    return await respond(data, request, principal, resources)


async def respond(
    data: GraphqlRequest | GraphqlQuery,
    request: Request,
    principal: Principal,
    resources: Resources,
) -> Response:
    try:
        document, operation = read_operation(data)
    except GraphQLError as error:
        return graphql_response(request, ExecutionResult(data=None, errors=[error]))
    if operation.operation is not OperationType.MUTATION:
        async with graphql_context(document, principal, resources, writes=False) as context:
            return graphql_response(request, await execute(data, context))
    if request.method != "POST":
        kind = KINDS["method-not-allowed"]
        return ProblemResponse(request.scope, kind, "Send a mutation by POST.", {"Allow": "POST"})
    try:
        async with graphql_context(document, principal, resources, writes=True) as context:
            return await mutate(data, request, context)
    except Failed as failed:
        failed.result.data = None
        return graphql_response(request, failed.result)


async def mutate(
    data: GraphqlRequest | GraphqlQuery, request: Request, context: GraphqlContext
) -> Response:
    """Run the document, or return the first response to its key. Raise Failed if it has errors."""
    idempotency = idempotency_of(request, context.session) if KEY in request.headers else None
    if idempotency and (replay := await idempotency.replay()):
        return replay
    result = await execute(data, context)
    if result.errors:
        raise Failed(result)
    response = graphql_response(request, result)
    if idempotency:
        await idempotency.store(response)
    return response


async def execute(data: GraphqlRequest | GraphqlQuery, context: GraphqlContext) -> ExecutionResult:
    """Run the document. Raise an error that passes by itself, which ends the request with 503."""
    result = await schema.execute(
        data.query, data.variables, context, operation_name=data.operation_name
    )
    raise_unavailable(result.errors or ())
    return result


def read_operation(
    data: GraphqlRequest | GraphqlQuery,
) -> tuple[DocumentNode, OperationDefinitionNode]:
    """Return the document, and the operation to run. Raise GraphQLError if it costs too much."""
    document = parse(data.query, max_tokens=MAX_TOKENS)
    require_low_cost(GRAPHQL_SCHEMA, document, data.variables or {})
    operation = get_operation_ast(document, data.operation_name)
    if operation is None:
        raise GraphQLError("Name one of the document's operations in `operationName`.")
    return document, operation


def graphql_response(request: Request, result: ExecutionResult) -> Response:
    """Return what has been run with 200, in which errors are a part of the result.

    What was not run is a 400 for clients that accept the media type of GraphQL; others expect 200.
    """
    content: dict[str, Any] = {}
    # An error of a field has a path.
    is_run = result.data is not None or any(error.path for error in result.errors or ())
    if is_run:
        content["data"] = result.data
    if result.errors:
        content["errors"] = describe_all(result.errors)
    if GRAPHQL_JSON not in request.headers.get("accept", ""):
        return GraphqlResponse(content)
    return GraphqlResponse(content, 200 if is_run else 400, media_type=GRAPHQL_JSON)
