"""FastAPI's routing and injection with their decisions taken once, and not at every request: they
cost more than the rest of a request does.

    router = APIRouter(..., route_class=LeanRoute)

It does what FastAPI does, in the same order, with FastAPI's own functions for parameters and
answers. All parameters are read before anything is called; when one is missing or not valid, the
request is FastAPI's own handler's from the beginning. So is each request of a route that uses what
is not known here, and of an application with overrides or telemetry. LEAN_ROUTES=false switches it
off. tests/core/test_routing.py holds the answers against FastAPI's own.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from operator import attrgetter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.params import Form
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts, serialize_response
from fastapi.security import SecurityScopes
from fastapi.utils import is_body_allowed_for_status_code
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Values = dict[str, Any]
Read = Callable[[Any], tuple[Values, Any]]
Seen = dict[Any, tuple[int, list[str]]]
JSON = "application/json"
PLAIN = {plain | None for plain in (bool, float, int, str)} | {bool, float, int, str}
SOURCES = {  # of the parameters that a dependant names so
    "path_params": attrgetter("path_params"),
    "query_params": attrgetter("query_params"),
    "header_params": attrgetter("headers"),
    "cookie_params": attrgetter("cookies"),
}


class LeanRouter:
    """In front of the application's: its routes in one list, where FastAPI walks a tree twice."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._routes = list[tuple[RouteContext, Plan | None]]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = self._plan_for(scope) if self._knows(scope) else None
        if plan is None:
            return await self._app.router.app(scope, receive, send)
        route = plan.route
        scope["router"] = self._app.router
        scope["route"] = plan.original_route
        scope["endpoint"] = route.endpoint
        scope["fastapi"] = {"effective_route_context": route}
        scope["plan"] = plan
        await route.app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope.get("root_path"):
            return False
        return not self._app.dependency_overrides and not scope.get("fastapi.telemetry")

    def _plan_for(self, scope: Scope) -> "Plan | None":
        """Of the first route that fits, which is the one that FastAPI would find."""
        if not self._routes:  # all are there when the first request comes
            contexts = iter_route_contexts(self._app.routes)
            self._routes = [(context, plan_of(context)) for context in contexts]
        path, method = scope["path"], scope["method"]
        for context, plan in self._routes:
            if plan is None:
                if context.matches(scope)[0] is Match.FULL:
                    return None
            elif (match := plan.route.path_regex.match(path)) and method in plan.route.methods:
                convertors = plan.route.param_convertors
                scope["path_params"] = {
                    name: convertors[name].convert(text) for name, text in match.groupdict().items()
                }
                return plan
        return None


class LeanRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        general = super().get_route_handler()

        async def handle(request: Request) -> Response:
            plan: Plan | None = request.scope.get("plan")
            values = await plan.read(request) if plan else None
            if plan is None or values is None:
                return await general(request)
            return await plan.answer(request, values)

        return handle


def is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


class Unknown(Exception):
    """The route uses what is not known here."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call: a dependency's, or, at the end, the endpoint's."""

    call: Callable[..., Any]
    is_generator: bool
    params: Sequence[tuple[Read, Callable[[Request], Any]]]
    results: Sequence[tuple[str, int]]  # of which step, for which argument
    request_names: Sequence[str]
    response_name: str | None
    constants: Values


@dataclass(frozen=True, slots=True)
class Plan:
    original_route: APIRoute
    route: Any  # with what its router was included with: a prefix, dependencies
    steps: Sequence[Step]
    serialization: Values
    response_class: type[Response]

    async def read(self, request: Request) -> list[Values] | None:
        """Each step's parameters, or None when FastAPI has to say what is wrong with them."""
        values = []
        for step in self.steps:
            found = step.constants.copy()
            for read, source in step.params:
                given, errors = read(source(request))
                if errors:
                    return None
                found |= given
            values.append(found)
        if fields := self.route.dependant.body_params:
            try:
                body = await request.json() if is_json(request) else None
            except Exception:  # noqa: BLE001  # which FastAPI's handler meets again
                return None
            given, errors = await request_body_to_args(fields, body, self.route._embed_body_fields)
            if body is None or errors:
                return None
            values[-1] |= given
        return values

    async def answer(self, request: Request, values: list[Values]) -> Response:
        stack = request.scope["fastapi_function_astack"]
        shared = Response()  # of which calls set headers and status
        del shared.headers["content-length"]
        shared.status_code = None  # type: ignore[assignment]  # as FastAPI has it
        results = list[Any]()
        for step, arguments in zip(self.steps, values, strict=True):
            for name, index in step.results:
                arguments[name] = results[index]
            for name in step.request_names:
                arguments[name] = request
            if step.response_name:
                arguments[step.response_name] = shared
            if step.is_generator:
                opened = asynccontextmanager(step.call)(**arguments)
                results.append(await stack.enter_async_context(opened))
            else:
                results.append(await step.call(**arguments))
        result = results[-1]
        return result if isinstance(result, Response) else await self._respond(result, shared)

    async def _respond(self, result: Any, shared: Response) -> Response:
        content = await serialize_response(response_content=result, **self.serialization)
        status = shared.status_code or self.route.status_code or 200
        if self.serialization["dump_json"]:
            response = Response(content, status, media_type=JSON)
        else:
            response = self.response_class(content, status)
        if not is_body_allowed_for_status_code(status):
            response.body = b""
        response.headers.raw.extend(shared.headers.raw)
        return response


def plan_of(context: RouteContext) -> Plan | None:
    original_route = context.original_route
    route: Any = context._route_context or original_route
    if not isinstance(original_route, LeanRoute):
        return None
    steps = list[Step]()
    try:
        _add_step(route.dependant, steps, {})
    except Unknown:
        return None
    if steps[-1].is_generator or isinstance(getattr(route.body_field, "field_info", None), Form):
        return None
    options = (
        "include",
        "exclude",
        "by_alias",
        "exclude_unset",
        "exclude_defaults",
        "exclude_none",
    )
    serialization = {name: getattr(route, f"response_model_{name}") for name in options}
    serialization["field"] = route.response_field
    response_class, is_default = route.response_class, False
    if isinstance(response_class, DefaultPlaceholder):
        response_class, is_default = response_class.value, True
    serialization["dump_json"] = is_default and route.response_field is not None
    return Plan(original_route, route, steps, serialization, response_class)


def _add_step(dependant: Dependant, steps: list[Step], seen: Seen) -> int:
    """Those of its dependencies first. Returns its index."""
    results = list[tuple[str, int]]()
    for dependency in dependant.dependencies:
        index = _add_step(dependency, steps, seen)
        if dependency.body_params:
            raise Unknown
        if dependency.name is not None:
            results.append((dependency.name, index))
    call: Any = dependant.call
    scopes = [*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ())]
    index, scopes_then = seen.setdefault(call, (len(steps), scopes))
    if index < len(steps) and dependant.use_cache:
        if scopes_then != scopes:  # FastAPI asks whether it uses them
            raise Unknown
        return index
    is_generator = isasyncgenfunction(call)
    is_coroutine = iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)
    is_known = is_coroutine or (is_generator and dependant.scope == "function")
    if not is_known or hasattr(call, "__wrapped__") or dependant.concurrency:
        raise Unknown
    if dependant.background_tasks_param_name or dependant.websocket_param_name:
        raise Unknown
    names = (dependant.request_param_name, dependant.http_connection_param_name)
    required = dependant.security_scopes_param_name
    steps.append(
        Step(
            call=call,
            is_generator=is_generator,
            params=[
                (_reader(fields), source)
                for name, source in SOURCES.items()
                if (fields := getattr(dependant, name))
            ],
            results=results,
            request_names=[name for name in names if name],
            response_name=dependant.response_param_name,
            constants={required: SecurityScopes([*dict.fromkeys(scopes)])} if required else {},
        )
    )
    return len(steps) - 1


def _reader(fields: Sequence[Any]) -> Read:
    is_plain = all(
        field.field_info.annotation in PLAIN
        and isinstance(field.field_info.validation_alias, str | None)
        and not field.field_info.validate_default
        and not field.config
        for field in fields
    )
    return partial(_read_plain if is_plain else request_params_to_args, fields)


def _read_plain(fields: Sequence[Any], received: Mapping[str, Any]) -> tuple[Values, Any]:
    """What FastAPI does with one text for one value, without asking whether it is that."""
    values = Values()
    for field in fields:
        value = received.get(field.validation_alias or field.alias)
        if value is not None:
            value, errors = field.validate(value)
            if errors:
                return values, errors
        elif field.field_info.is_required():
            return values, True
        else:
            value = field.default
        values[field.name] = value
    return values, None
