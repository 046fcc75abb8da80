"""The OpenAPI document, with the errors that each operation can answer."""

from typing import Any

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from app.core.errors import Invalid
from app.core.http import Problem, title_of
from app.core.idempotency import KEY, REPLAYED

SCHEMA = "#/components/schemas/"
REFERENCE = {"$ref": f"{SCHEMA}Problem"}


class API(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()  # the same one each time, until a route is added
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            problem = Problem.model_json_schema(ref_template=SCHEMA + "{model}")
            schemas |= problem.pop("$defs") | {"Problem": problem}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            for path in document["paths"].values():
                for operation in path.values():
                    _describe_errors(operation)
        return document


def query_parameters(document: dict[str, Any]) -> dict[str, frozenset[str]]:
    """The names that each operation takes, by its id."""
    return {
        operation["operationId"]: frozenset(
            parameter["name"]
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "query"
        )
        for path in document["paths"].values()
        for operation in path.values()
    }


async def forbid_unknown_parameters(connection: HTTPConnection) -> None:
    """So that a misspelt filter does not answer everything."""
    takes_none = frozenset[str]() if connection.scope["type"] == "websocket" else None
    known = connection.app.state.query_parameters.get(connection.scope["route"].name, takes_none)
    if known is not None:
        for name in connection.query_params:
            if name not in known:
                raise Invalid(f"There is no parameter {name!r}.", "query", name)


def _describe_errors(operation: dict[str, Any]) -> None:
    """Derived from the operation, so that a new route is described without saying a thing."""
    statuses = {"500"}
    parameters = operation.get("parameters", [])
    if "requestBody" in operation:
        statuses |= {"400", "413", "422", "503"}
        if "application/json" in operation["requestBody"]["content"]:
            statuses.add("415")
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses.add("404")
    if any(parameter["name"] == "If-Match" for parameter in parameters):
        statuses.add("412")
    for requirement in operation.get("security", []):
        statuses |= {"401", "422", "503"} | ({"403"} if any(requirement.values()) else set())
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape
    if any(parameter["name"] == KEY for parameter in parameters):
        _describe_replays(responses)
    for status in sorted(statuses | {code for code in responses if code >= "400"}):
        description = responses.get(status, {}).get("description") or title_of(int(status))
        example = {
            "type": "about:blank",
            "title": title_of(int(status)),
            "status": int(status),
            "detail": "What went wrong, in words.",
            "instance": "/api/v1/...",
            "request_id": "9f86d081884c7d659a2feaa0c55ad015",
        }
        responses[status] = {
            "description": description,
            "content": {"application/problem+json": {"schema": REFERENCE, "example": example}},
        }


def _describe_replays(responses: dict[str, Any]) -> None:
    replayed = {
        "description": "There when this is the first answer to the key, again.",
        "schema": {"type": "string", "const": "true"},
    }
    for status, response in responses.items():
        if status < "300":
            response.setdefault("headers", {})[REPLAYED] = replayed
    responses["409"] = {"description": "The first request with the key is still under way"}
    responses["422"] = {"description": "Not valid, or the key was used with another request"}
