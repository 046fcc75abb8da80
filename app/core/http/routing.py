"""The router of the API, which derives response headers from what an endpoint returns.

    router = ApiRouter(prefix="/things", tags=["things"])

    @router.post("", status_code=201, dependencies=[idempotent])
    async def create_thing(data: ThingCreate, things: WriteThings) -> ThingRead: ...

A schema with a `version` gets an `ETag`, and a 304 if the endpoint takes `IfNoneMatch` and the
client has that version. A created one with an `id` gets a `Location`. A `Page` gets a `Link` to the
next page.
"""

from collections.abc import Callable, Collection, Coroutine
from inspect import Parameter, signature
from typing import Any, get_type_hints
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.core.database.pagination import Page
from app.core.http.conditional import NOT_MODIFIED, has_version, if_none_match, tag_of
from app.core.http.idempotency import Idempotency, idempotent
from app.core.http.links import link_to_next
from app.core.http.openapi import header_fields

Endpoint = Callable[..., Coroutine[Any, Any, Any]]


class ApiRoute(APIRoute):
    supports_idempotency = True

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        shape = get_type_hints(endpoint).get("return")
        names = header_names(shape, is_created=options.get("status_code") == 201)
        is_idempotent = idempotent in (options.get("dependencies") or ())
        if names:
            status = options.get("status_code") or 200
            responses = {status: {"headers": header_fields(*names)}}
            if depends_on(endpoint, if_none_match):
                responses |= NOT_MODIFIED
            options["responses"] = responses | (options.get("responses") or {})
        if names or is_idempotent:
            endpoint = with_header_fields(endpoint, names)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner_handler = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response = await inner_handler(request)
            # The response is complete here, and the transaction is still open.
            idempotency: Idempotency | None = request.scope.get("idempotency")
            if idempotency:
                await idempotency.store(response)
            return response

        return handler


class ApiRouter(APIRouter):
    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=ApiRoute, **options)


def header_names(shape: Any, *, is_created: bool) -> list[str]:
    """Return the names of the header fields that a returned type gets."""
    if not isinstance(shape, type):
        return []
    if issubclass(shape, Page):
        return ["Link"]
    fields = getattr(shape, "model_fields", {})
    names = {"ETag": "version" in fields, "Location": is_created and "id" in fields}
    return [name for name, is_present in names.items() if is_present]


def with_header_fields(endpoint: Endpoint, names: list[str]) -> Endpoint:
    """Wrap an endpoint: add the header fields to its response, or replay an earlier response."""
    parameters = signature(endpoint).parameters.values()
    own_names = {  # The endpoint's names for parameters that the wrapper takes as well.
        parameter.annotation: parameter.name
        for parameter in parameters
        if parameter.annotation in (Request, Response)
    }

    async def call(request_: Request, response_: Response, **arguments: Any) -> Any:
        idempotency: Idempotency | None = request_.scope.get("idempotency")
        if idempotency and (replay := await idempotency.replay()):
            return replay
        if Request in own_names:
            arguments[own_names[Request]] = request_
        if Response in own_names:
            arguments[own_names[Response]] = response_
        result = await endpoint(**arguments)
        if isinstance(result, Response):
            return result
        for name in names:
            if value := HEADER_VALUES[name](request_, result):
                response_.raw_headers.append((name.lower().encode(), value.encode("latin-1")))
        if "ETag" in names and has_version(request_, result):
            return Response(status_code=304, headers={"ETag": tag_of(result)})
        return result

    copy_signature(endpoint, call, without=own_names.values())
    return call


def copy_signature(endpoint: Endpoint, wrapper: Endpoint, without: Collection[str]) -> None:
    """Give the wrapper the endpoint's name and signature, by which FastAPI injects parameters.

    The parameters in `without` are left out, and those of the wrapper itself are added.
    """
    original = signature(endpoint)
    hints = get_type_hints(endpoint, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in original.parameters.items()
        if name not in without
    ]
    parameters += [
        Parameter("request_", Parameter.KEYWORD_ONLY, annotation=Request),
        Parameter("response_", Parameter.KEYWORD_ONLY, annotation=Response),
    ]
    returned = hints.get("return", original.return_annotation)
    wrapper.__signature__ = original.replace(  # type: ignore[attr-defined]  # FastAPI reads it.
        parameters=parameters, return_annotation=returned
    )
    wrapper.__name__, wrapper.__qualname__ = endpoint.__name__, endpoint.__qualname__
    wrapper.__doc__, wrapper.__module__ = endpoint.__doc__, endpoint.__module__


def depends_on(endpoint: Endpoint, dependency: object) -> bool:
    """Return whether the dependency injects a parameter of the endpoint."""
    hints = get_type_hints(endpoint, include_extras=True)
    return any(
        getattr(item, "dependency", None) is dependency
        for hint in hints.values()
        for item in getattr(hint, "__metadata__", ())
    )


def location_of(request: Request, result: Any) -> str:
    # request.url would be parsed, which takes longer than all other header fields together.
    return f"{quote(request.scope['path'])}/{result.id}"


HEADER_VALUES: dict[str, Callable[[Request, Any], str | None]] = {
    "ETag": lambda _, result: tag_of(result),
    "Link": lambda request, page: link_to_next(request, page.next) if page.next else None,
    "Location": location_of,
}
