"""The OpenAPI document, which includes the errors that each operation can return."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params, get_validation_alias
from starlette.requests import HTTPConnection

from app.core.errors import Invalid
from app.core.http.idempotency import KEY, REPLAYED
from app.core.http.problems import Problem, title_of
from app.core.http.scope import effective_route

SCHEMA = "#/components/schemas/"
REFERENCE = {"$ref": f"{SCHEMA}Problem"}
REQUEST_ID = "9f86d081884c7d659a2feaa0c55ad015"
# The description of each header field, and an example.
HEADERS = {
    "Content-Disposition": ("The file's name.", 'attachment; filename="items.csv"'),
    "ETag": ("The version, for If-Match and If-None-Match.", '"1"'),
    REPLAYED: ("There when this is the first answer to the key, again.", "true"),
    "Link": (
        "The next page, where there is one (RFC 8288).",
        '</api/v1/...?cursor=...>; rel="next"',
    ),
    "Location": ("Where it is now.", "/api/v1/..."),
    "RateLimit": ("What is left, and in how many seconds there is more.", '"login";r=0;t=42'),
    "RateLimit-Policy": ("How many there may be in how many seconds.", '"login";q=10;w=60'),
    "Retry-After": ("Seconds.", "5"),
    "WWW-Authenticate": (
        "What is wrong with the token (RFC 6750).",
        'Bearer error="invalid_token"',
    ),
    "X-Request-ID": ("The request's own when it sent one, and in every log line.", REQUEST_ID),
}
HEADERS_OF_ERRORS = {
    "401": ["WWW-Authenticate"],
    "403": ["WWW-Authenticate"],
    "429": ["RateLimit", "RateLimit-Policy", "Retry-After"],
    "503": ["Retry-After"],
}


class API(FastAPI):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.query_parameters = dict[Any, frozenset[str]]()  # by path and endpoint

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()  # It is cached until a route is added.
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            problem = Problem.model_json_schema(ref_template=SCHEMA + "{model}")
            schemas |= problem.pop("$defs") | {"Problem": problem}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            document["components"]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (text, example) in HEADERS.items()
            }
            for path in document["paths"].values():
                for operation in path.values():
                    _describe_errors(operation)
                    for response in operation["responses"].values():
                        response.setdefault("headers", {}).update(header_fields("X-Request-ID"))
        return document


def header_fields(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


async def forbid_unknown_parameters(connection: HTTPConnection) -> None:
    """Refuse unknown query parameters, since a misspelled filter would return all rows."""
    if connection.scope["query_string"]:
        known = query_parameters(connection)
        for name in connection.query_params:
            if name not in known:
                raise Invalid(f"There is no parameter {name!r}.", "query", name)


def query_parameters(connection: HTTPConnection) -> frozenset[str]:
    """Return the names of the query parameters that the route takes.

    They are not read from the OpenAPI document, since that takes long to generate.
    """
    route, cache = effective_route(connection.scope), connection.app.query_parameters
    key = route.path_format, route.endpoint
    if key not in cache:
        fields = get_flat_params(Dependant(query_params=list(_query_fields(route.dependant))))
        cache[key] = frozenset(get_validation_alias(field) for field in fields)
    names: frozenset[str] = cache[key]
    return names


def _query_fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from dependant.query_params
    for dependency in dependant.dependencies:
        yield from _query_fields(dependency)


def _describe_errors(operation: dict[str, Any]) -> None:
    """Add the errors that the operation can return, derived from its parameters and security."""
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
            "request_id": REQUEST_ID,
        }
        responses[status] = {
            "description": description,
            "headers": header_fields(*HEADERS_OF_ERRORS.get(status, [])),
            "content": {"application/problem+json": {"schema": REFERENCE, "example": example}},
        }


def _describe_replays(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status < "300":
            response.setdefault("headers", {}).update(header_fields(REPLAYED))
    responses["409"] = {"description": "The first request with the key is still under way"}
    responses["422"] = {"description": "Not valid, or the key was used with another request"}
