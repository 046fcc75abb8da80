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
from app.core.http.problem_kinds import (
    KINDS,
    MEDIA_TYPE,
    ProblemKind,
    example_of,
    kind_of_status,
)
from app.core.http.problems import Problem
from app.core.http.scope import effective_route

SCHEMA = "#/components/schemas/"
REFERENCE = {"$ref": f"{SCHEMA}Problem"}
REQUEST_ID = "9f86d081884c7d659a2feaa0c55ad015"
# The description of each header field, and an example.
HEADERS = {
    "Content-Disposition": ("The name of the file.", 'attachment; filename="items.csv"'),
    "Content-Range": ("The part of the file, and the size of the file.", "bytes 0-99/1234"),
    "ETag": ("The version, for If-Match and If-None-Match.", '"1"'),
    REPLAYED: ("Present when this is the stored first response for the key.", "true"),
    "Link": (
        "The next page, where there is one (RFC 8288).",
        '</api/v1/...?cursor=...>; rel="next"',
    ),
    "Location": ("The address of the new record.", "/api/v1/..."),
    "RateLimit": (
        "Requests that remain, and the seconds until there are more.",
        '"login";r=0;t=42',
    ),
    "RateLimit-Policy": (
        "Requests that are allowed, and the seconds of the window.",
        '"login";q=10;w=60',
    ),
    "Retry-After": ("Seconds to wait before the next attempt.", "5"),
    "WWW-Authenticate": (
        "What is wrong with the token (RFC 6750).",
        'Bearer error="invalid_token"',
    ),
    "X-Request-ID": ("The ID that the request sent, or a new one. Log lines have it.", REQUEST_ID),
}
HEADERS_OF_ERRORS = {
    "401": ["WWW-Authenticate"],
    "403": ["WWW-Authenticate"],
    "429": ["RateLimit", "RateLimit-Policy", "Retry-After"],
    "503": ["Retry-After"],
}
UNAVAILABLE = ("database-unavailable", "overloaded")


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
            document["components"]["examples"] = _examples()
            document["components"]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (text, example) in HEADERS.items()
            }
            tags = set[str]()
            for path in document["paths"].values():
                for operation in path.values():
                    tags.update(operation.get("tags", []))
                    for parameter in operation.get("parameters", []):
                        _remove_null(parameter["schema"])
                    _describe_errors(operation)
                    for response in operation["responses"].values():
                        response.setdefault("headers", {}).update(header_fields("X-Request-ID"))
            # The pages show them in this order: that of the routes is the order of matching.
            document["tags"] = [{"name": tag} for tag in sorted(tags, key=str.lower)]
        return document


def header_fields(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


async def forbid_unknown_parameters(connection: HTTPConnection) -> None:
    """Refuse unknown query parameters, since a misspelled filter would return all rows."""
    if connection.scope["query_string"]:
        known = query_parameters(connection)
        for name in connection.query_params:
            if name not in known:
                raise Invalid("There is no query parameter {name!r}.", "query", name, name=name)


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


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove null from the schema of a parameter: one that is optional is left out instead."""
    if "anyOf" in schema:
        others = [each for each in schema.pop("anyOf") if each != {"type": "null"}]
        schema |= {"anyOf": others} if len(others) > 1 else others[0]


def _describe_errors(operation: dict[str, Any]) -> None:
    """Add the errors that the operation can return, derived from its parameters and security."""
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape
    parameters = operation.get("parameters", [])
    if any(parameter["name"] == KEY for parameter in parameters):
        for status, response in responses.items():
            if status < "300":
                response.setdefault("headers", {}).update(header_fields(REPLAYED))
    examples = {status: _declared(each) for status, each in responses.items() if status >= "400"}
    for name in _kinds_of(operation):
        examples.setdefault(str(KINDS[name].status), {}).update(example_of(name))
    for status in sorted(examples):
        general = kind_of_status(int(status))
        response = responses.get(status, {})
        responses[status] = {
            "description": response.get("description") or _titles(examples[status], general),
            "headers": header_fields(*HEADERS_OF_ERRORS.get(status, [])),
            "content": {MEDIA_TYPE: {"schema": REFERENCE, "examples": examples[status]}},
        }


def _kinds_of(operation: dict[str, Any]) -> Iterator[str]:
    """Yield the kinds of problems that follow from what an operation takes."""
    yield "internal-error"
    parameters = operation.get("parameters", [])
    names = {parameter["name"] for parameter in parameters}
    if "requestBody" in operation:
        yield from ("bad-request", "body-too-large", "validation", *UNAVAILABLE)
        if "application/json" in operation["requestBody"]["content"]:
            yield "unsupported-media-type"
        if "multipart/form-data" in operation["requestBody"]["content"]:
            yield "too-many-at-once"
    if any(parameter["in"] == "path" for parameter in parameters):
        yield "not-found"
    if "If-Match" in names:
        yield "stale-version"
    if KEY in names:
        yield from ("idempotency-in-progress", "idempotency-key-reused")
    for requirement in operation.get("security", []):
        yield from ("unauthenticated", "validation", *UNAVAILABLE)
        if any(requirement.values()):
            yield "missing-scope"


def _declared(response: dict[str, Any]) -> dict[str, Any]:
    """Return the examples that a route declares by `problem_response`."""
    content: dict[str, Any] = response.get("content", {}).get(MEDIA_TYPE, {})
    return {**content.get("examples", {})}


def _titles(examples: dict[str, Any], general: ProblemKind) -> str:
    return "; ".join(KINDS[name].title for name in examples) or general.title


def _examples() -> dict[str, Any]:
    """Return an example of each kind of problem."""
    return {
        name: {
            "summary": kind.title,
            "description": f"{kind.summary} {kind.advice}",
            "value": {
                "type": kind.type,
                "title": kind.title,
                "status": kind.status,
                "detail": kind.summary,
                "instance": "/api/v1/...",
                "request_id": REQUEST_ID,
            },
        }
        for name, kind in KINDS.items()
    }
