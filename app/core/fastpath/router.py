"""A router in front of FastAPI's router, which makes FastAPI's decisions about a route once.

It does the same as FastAPI in the same order, with FastAPI's own functions for parameters and
responses. What it does not support is left to FastAPI: bodies that are not JSON, routes with other
features, and applications with dependency overrides, telemetry or a path prefix.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from operator import attrgetter
from types import TracebackType
from typing import Any

from anyio import CancelScope
from anyio._backends._asyncio import _task_states
from fastapi import FastAPI, Request, Response
from fastapi._body_limit import wrap_app_with_body_limit
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant, _get_cache_key
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import (
    APIRoute,
    RouteContext,
    _effective_route_context_var,
    _extract_endpoint_context,
    iter_route_contexts,
    request_response,
    serialize_response,
)
from fastapi.security import SecurityScopes
from fastapi.utils import is_body_allowed_for_status_code
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("app.fastpath")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Values = dict[str, Any]
Reader = Callable[[Any], tuple[Values, Any]]  # reads parameters: returns their values and errors
StepCache = dict[Any, int]  # the indexes of the steps, by FastAPI's cache keys of dependencies
JSON = "application/json"
HEAD_PARTS = 4  # "", "api", "v1", "items"
NOT_JSON, FAILED, REQUIRED = object(), object(), object()
SCALARS = {scalar | None for scalar in (bool, float, int, str)} | {bool, float, int, str}
SOURCES = {  # where a dependant's parameters are read from, by their attribute
    "path_params": attrgetter("path_params"),
    "query_params": attrgetter("query_params"),
    "header_params": attrgetter("headers"),
    "cookie_params": attrgetter("cookies"),
}


class LeanRouter:
    """Serves the routes that have a plan, and leaves all others to the application's router.

    The routes are in lists by the first parts of their paths, so that a request costs the same
    however many resources there are. FastAPI walks a tree of routers twice for each request.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._routes = dict[str | None, list[PlannedRoute]]()  # by the head of their paths
        self._has_failed = False

    def build_routes(self) -> None:
        """Build and plan all routes. It takes a moment, and must not run in two threads at once."""
        contexts = iter_route_contexts(self._app.routes)
        self._routes = by_head([(each, self._plan_or_none(each)) for each in contexts])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = self._plan_for(scope) if self._is_supported(scope) else None
        if plan is None:
            return await self._app.router.app(scope, receive, send)
        scope["router"] = self._app.router
        scope["route"] = plan.original_route
        scope["endpoint"] = plan.route.endpoint
        scope["fastapi"] = {"effective_route_context": plan.route}
        await plan.app(scope, receive, send)

    def _is_supported(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope.get("root_path"):
            return False
        return not self._app.dependency_overrides and not scope.get("fastapi.telemetry")

    def _plan_for(self, scope: Scope) -> "Plan | None":
        """Return the plan of the first route that matches, in FastAPI's order."""
        if not self._routes:  # The lifespan has not built them. All have been added by now.
            self.build_routes()
        path, method = scope["path"], scope["method"]
        for context, plan in self._routes.get(head_of(path)) or self._routes[None]:
            if plan is None:
                if context.matches(scope)[0] is Match.FULL:
                    return None
            elif method in plan.route.methods and (match := plan.route.path_regex.match(path)):
                convertors = plan.route.param_convertors
                scope["path_params"] = {
                    name: convertors[name].convert(text) for name, text in match.groupdict().items()
                }
                return plan
        return None

    def _plan_or_none(self, context: RouteContext) -> "Plan | None":
        """Return None if the route is not supported, or if FastAPI has changed."""
        try:
            return plan_of(context)
        except UnsupportedRoute:
            return None
        except Exception:
            if not self._has_failed:
                logger.exception("Routes are left to FastAPI: it is not the version known here")
            self._has_failed = True
            return None


def head_of(path: str) -> str:
    """Return the first parts of a path, such as /api/v1/items."""
    return "/".join(path.split("/", HEAD_PARTS)[:HEAD_PARTS])


def by_head(routes: Sequence["PlannedRoute"]) -> dict[str | None, list["PlannedRoute"]]:
    """Return the routes that may match a path, by its head, or by None for all other paths."""
    heads = [plan.head if plan else None for _, plan in routes]
    return {
        head: [route for route, own in zip(routes, heads, strict=True) if own in (head, None)]
        for head in {*heads, None}
    }


async def read_json(request: Request) -> Any:
    """Return the parsed body, or NOT_JSON, so that FastAPI's handler reads it or gets the error."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        return NOT_JSON
    try:
        return await request.json()
    except Exception as error:  # noqa: BLE001  # invalid, too large, or the client disconnected
        # The traceback refers to this frame, and so to the body.
        request._receive = partial(_fail, error.with_traceback(None))
        return NOT_JSON


async def _fail(error: Exception) -> Message:
    raise error


class Shielded:
    """Shields what a dependency does after its `yield` from a cancel scope around the request.

    FastAPI does the same.
    """

    def __init__(self, context: AbstractAsyncContextManager[Any, bool | None]) -> None:
        self._context = context
        self._scope = CancelScope()  # It is outside of any scope that the dependency opens.

    async def __aenter__(self) -> Any:
        self._scope.__enter__()
        try:
            return await self._context.__aenter__()
        except BaseException as error:
            self._scope.__exit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._scope.shield = True
        try:
            return await self._context.__aexit__(type_, error, traceback)
        finally:
            self._scope.__exit__(type_, error, traceback)


class HeaderCollector(Response):
    """The response whose headers and status a dependency may set. It is cheaper than FastAPI's."""

    status_code: int | None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.body, self.status_code, self.background = b"", None, None
        self.raw_headers = []


class UnsupportedRoute(Exception):
    """The route uses a feature that the fast router does not support. The text names it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a dependency or, in the last step, of the endpoint."""

    call: Callable[..., Any]
    is_generator: bool
    params: Sequence[tuple[Reader, Callable[[Request], Any]]]
    may_fail: bool
    needs: Sequence[int]  # the indexes of the steps that have to succeed first
    results: Sequence[tuple[str, int]]  # names of arguments, and the steps that return them
    request_names: Sequence[str]
    response_name: str | None
    scopes_name: str | None
    scopes: Sequence[str]


@dataclass(slots=True)
class Plan:
    """A route's steps and options, which are the same for all requests."""

    original_route: APIRoute
    route: Any  # including the prefix and the dependencies of its routers
    steps: Sequence[Step]
    body_fields: list[Any]
    embeds_body: bool
    response_class: type[Response]
    serialization: Values
    error_contexts: Mapping[str, Any]  # what validation errors say about the route, by method
    app: ASGIApp = dataclass_field(init=False)

    def __post_init__(self) -> None:
        self.app = wrap_app_with_body_limit(
            request_response(self._route_handler()), self.route.max_body_size
        )

    @property
    def head(self) -> str | None:
        """The first parts of its path, or None if they are fewer or vary."""
        head = head_of(self.route.path_format)
        return head if head.count("/") == HEAD_PARTS - 1 and "{" not in head else None

    def _route_handler(self) -> Handler:
        """Return the handler of the route's class, with the fast handler in place of FastAPI's.

        So what the class adds to its handler is kept.
        """
        make_handler = APIRoute.get_route_handler

        def make_fast_handler(route: APIRoute) -> Handler:
            return partial(self._handle, make_handler(route))

        is_included = self.route is not self.original_route
        token = _effective_route_context_var.set(self.route if is_included else None)
        APIRoute.get_route_handler = make_fast_handler  # type: ignore[assignment, method-assign]  # It is restored below.
        try:
            return self.original_route.get_route_handler()
        finally:
            APIRoute.get_route_handler = make_handler  # type: ignore[method-assign]
            _effective_route_context_var.reset(token)

    async def _handle(self, fastapi_handler: Handler, request: Request) -> Response:
        body = await read_json(request) if self.body_fields else None
        if body is NOT_JSON:
            return await fastapi_handler(request)
        return await self._run_steps(request, body)

    async def _run_steps(self, request: Request, body: Any) -> Response:
        """Run the steps, and return the response.

        This is one function, since a call for each step would cost a good part of what it saves.
        """
        stack = request.scope["fastapi_function_astack"]
        shared = HeaderCollector()
        results, errors = list[Any](), list[Any]()
        for step in self.steps:
            arguments = {name: results[index] for name, index in step.results}
            earlier_errors = len(errors)
            for read, source in step.params:
                values, param_errors = read(source(request))
                arguments |= values
                errors += param_errors
            if self.body_fields and step is self.steps[-1]:
                values, body_errors = await request_body_to_args(
                    self.body_fields, body, self.embeds_body
                )
                arguments |= values
                errors += body_errors
            if errors and (
                len(errors) > earlier_errors or any(results[n] is FAILED for n in step.needs)
            ):
                results.append(FAILED)  # The other steps run, so that all errors are reported.
                continue
            for name in step.request_names:
                arguments[name] = request
            if step.response_name:
                arguments[step.response_name] = shared
            if step.scopes_name:
                arguments[step.scopes_name] = SecurityScopes([*step.scopes])
            if step.is_generator:
                context = step.call(**arguments)
                # anyio knows the task only if it has, or had, a cancel scope.
                if _task_states and asyncio.current_task() in _task_states:
                    context = Shielded(context)
                results.append(await stack.enter_async_context(context))
            else:
                results.append(await step.call(**arguments))
        if errors:
            raise RequestValidationError(
                errors, body=body, endpoint_ctx=self.error_contexts[request.method]
            )
        result = results[-1]
        if isinstance(result, Response):
            return result
        return await self._respond(result, request, shared)

    async def _respond(self, result: Any, request: Request, shared: Response) -> Response:
        content = await serialize_response(
            response_content=result,
            endpoint_ctx=self.error_contexts[request.method],
            **self.serialization,
        )
        status = shared.status_code or self.route.status_code
        # Without a status, the response class has its own default.
        options: Values = {"status_code": status} if status else {}
        if self.serialization["dump_json"]:
            response = Response(content, media_type=JSON, **options)
        else:
            response = self.response_class(content, background=None, **options)
        if not is_body_allowed_for_status_code(response.status_code):
            response.body = b""
        response.raw_headers.extend(shared.raw_headers)
        return response


PlannedRoute = tuple[RouteContext, Plan | None]


def plan_of(context: RouteContext) -> Plan:
    """Return the plan of a route. Raise UnsupportedRoute if FastAPI has to serve it."""
    original_route = context.original_route
    route: Any = context._route_context or original_route
    if not isinstance(original_route, APIRoute):
        raise UnsupportedRoute("it is no API route")
    limits_forms = getattr(original_route, "form_limits", None)  # exists since FastAPI 0.165
    if route.is_json_stream or route.stream_item_field or limits_forms:
        raise UnsupportedRoute("it streams, or limits forms")
    steps = list[Step]()
    try:
        _add_step(route.dependant, steps, {})
    except TypeError as error:
        raise UnsupportedRoute("something that it calls cannot be hashed") from error
    if steps[-1].is_generator:
        raise UnsupportedRoute("its endpoint is a generator")
    if isinstance(getattr(route.body_field, "field_info", None), Form):
        raise UnsupportedRoute("it takes a form")
    response_class, is_default = route.response_class, False
    if isinstance(response_class, DefaultPlaceholder):
        response_class, is_default = response_class.value, True
    options = (
        "include",
        "exclude",
        "by_alias",
        "exclude_unset",
        "exclude_defaults",
        "exclude_none",
    )
    endpoint = _extract_endpoint_context(route.endpoint)
    serialization = {name: getattr(route, f"response_model_{name}") for name in options}
    serialization["field"] = route.response_field
    serialization["dump_json"] = is_default and route.response_field is not None
    return Plan(
        original_route=original_route,
        route=route,
        steps=steps,
        body_fields=route.dependant.body_params,
        embeds_body=route._embed_body_fields,
        response_class=response_class,
        serialization=serialization,
        error_contexts={
            method: endpoint | {"path": f"{method} {route.path_format}"} for method in route.methods
        },
    )


def _add_step(dependant: Dependant, steps: list[Step], cache: StepCache) -> int:
    """Add the steps of the dependencies, then the step of the dependant, and return its index."""
    needs, results = list[int](), list[tuple[str, int]]()
    for dependency in dependant.dependencies:
        index = _add_step(dependency, steps, cache)
        if dependency.body_params:
            raise UnsupportedRoute(f"the dependency {name_of(dependency.call)} takes a body")
        needs.append(index)
        if dependency.name is not None:
            results.append((dependency.name, index))
    call: Any = dependant.call
    scopes = [*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ())]
    params = [
        (_reader(fields), source)
        for name, source in SOURCES.items()
        if (fields := getattr(dependant, name))
    ]
    may_fail = bool(params) or any(steps[n].may_fail for n in needs)
    index = cache.setdefault(_get_cache_key(dependant=dependant), len(steps))
    if index < len(steps) and dependant.use_cache:
        if may_fail:  # FastAPI reports the errors of its parameters twice.
            raise UnsupportedRoute(f"the dependency {name_of(call)} is used twice")
        return index
    is_generator = isasyncgenfunction(call)
    is_coroutine = iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)
    is_known = is_coroutine or (is_generator and dependant.scope == "function")
    if not is_known or hasattr(call, "__wrapped__") or dependant.concurrency:
        raise UnsupportedRoute(f"{name_of(call)} is no plain async function")
    if dependant.background_tasks_param_name or dependant.websocket_param_name:
        raise UnsupportedRoute(f"{name_of(call)} takes background tasks or a WebSocket")
    names = (dependant.request_param_name, dependant.http_connection_param_name)
    steps.append(
        Step(
            call=asynccontextmanager(call) if is_generator else call,
            is_generator=is_generator,
            params=params,
            may_fail=may_fail,
            needs=needs,
            results=results,
            request_names=[name for name in names if name],
            response_name=dependant.response_param_name,
            scopes_name=dependant.security_scopes_param_name,
            scopes=[*dict.fromkeys(scopes)],
        )
    )
    return len(steps) - 1


def name_of(call: Any) -> str:
    return getattr(call, "__qualname__", repr(call))


def _reader(fields: Sequence[Any]) -> Reader:
    """Return the function that reads the parameters: a simple one, if they are all scalars."""
    are_scalars = all(
        field.field_info.annotation in SCALARS
        and isinstance(field.field_info.validation_alias, str | None)
        and not field.field_info.default_factory
        and not field.field_info.validate_default
        and not field.config
        for field in fields
    )
    if not are_scalars:
        return partial(request_params_to_args, fields)
    params = []
    for field in fields:
        default = REQUIRED if field.field_info.is_required() else field.default
        params.append((field.name, field.validation_alias or field.alias, default, field))
    return partial(_read_scalars, fields, params)


def _read_scalars(
    fields: Sequence[Any],
    params: Sequence[tuple[str, str, Any, Any]],
    received: Mapping[str, Any],
) -> tuple[Values, Any]:
    """Read scalar parameters. Leave errors to FastAPI's function, which describes them."""
    values = Values()
    for name, alias, default, field in params:
        value, errors = received.get(alias), None
        if value is None:
            value = default
        else:
            value, errors = field.validate(value)
        if errors or value is REQUIRED:
            return request_params_to_args(fields, received)
        values[name] = value
    return values, ()
