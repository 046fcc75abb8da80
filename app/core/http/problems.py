"""Problem documents (RFC 9457): all errors are turned into responses here."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import Scope

from app.core import errors

logger = logging.getLogger("app.http")

STATUS: dict[type[errors.AppError], int] = {
    errors.InvalidTokenRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.Invalid: 422,
    errors.TooManyRequests: 429,
    errors.TooManyAtOnce: 429,
    errors.TooManyTags: 431,
    errors.Unavailable: 503,
}
# RFC 9110's names, which Python learned in 3.13.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RETRY_AFTER_SECONDS = "5"
MAX_ERRORS = 100


class InvalidField(BaseModel):
    loc: list[str | int] = Field(
        description="Location of the error: `body`, `query`, `path` or `header`, then the path to"
        " the field."
    )
    msg: str
    type: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[InvalidField] | None = Field(default=None, description="Only with status 422.")


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def __init__(
        self,
        scope: Scope,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        body = {
            "type": "about:blank",
            "title": title_of(status),
            "status": status,
            "detail": detail,
            "instance": scope["path"],
            "request_id": scope.get("request_id"),
        }
        super().__init__(body | members, status, headers)

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()  # ASCII: a lone surrogate cannot be sent as UTF-8


def title_of(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase


def drop_tracebacks(error: object) -> None:
    """Drop the tracebacks of a handled error.

    An error, its traceback and the frames that refer to it are a reference cycle, which would keep
    the request's body in memory until the garbage collector runs.
    """
    seen = set[int]()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                drop_tracebacks(each)
        if isinstance(error, RequestValidationError):
            error.body = None
            for each in error.errors():
                drop_tracebacks(each.get("ctx", {}).get("error"))
        error = error.__cause__ or error.__context__


async def app_error(request: Request, error: errors.AppError) -> ProblemResponse:
    drop_tracebacks(error)
    status = next(STATUS[class_] for class_ in type(error).__mro__ if class_ in STATUS)
    headers, members = dict[str, str](), dict[str, Any]()
    match error:
        case errors.InvalidTokenRequest():
            headers["Cache-Control"] = "no-store"
            members = {"error": error.error, "error_description": error.detail}
        case errors.Unauthenticated():
            reason = 'error="invalid_token"' if error.token_given else 'realm="app"'
            headers["WWW-Authenticate"] = f"Bearer {reason}"
        case errors.MissingScope():
            headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
        case errors.Invalid():
            members["errors"] = [{"loc": error.loc, "msg": error.detail, "type": "value_error"}]
        case errors.InProgress():
            headers["Retry-After"] = RETRY_AFTER_SECONDS
        case errors.TooManyRequests():
            headers = rate_limit_fields(
                error.policy, error.limit, error.window_seconds, 0, error.reset_seconds
            )
            headers["Retry-After"] = str(error.reset_seconds)
        case errors.Unavailable():
            headers["Retry-After"] = RETRY_AFTER_SECONDS
            logger.warning("%s (%r)", error.detail, error.__cause__)
    return ProblemResponse(request.scope, status, error.detail, headers, **members)


def rate_limit_fields(
    policy: str, limit: int, window_seconds: int, remaining: int, reset_seconds: int
) -> dict[str, str]:
    """Return the policy and its status as fields (draft-ietf-httpapi-ratelimit-headers-10)."""
    return {
        "RateLimit-Policy": f'"{policy}";q={limit};w={window_seconds}',
        "RateLimit": f'"{policy}";r={remaining};t={reset_seconds}',
    }


async def invalid_request(request: Request, error: RequestValidationError) -> ProblemResponse:
    is_json = not isinstance(error.body, bytes)
    drop_tracebacks(error)
    if not is_json:  # FastAPI parses nothing but JSON
        return ProblemResponse(request.scope, 415, "The body should be application/json.")
    details = error.errors()
    if len(details) > MAX_ERRORS:  # the first of each field, or of each element of a list
        details = list({each["loc"][:2]: each for each in reversed(details)}.values())[::-1]
    # Never `input`: it may be a password, or NaN.
    found = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in details]
    return ProblemResponse(request.scope, 422, "The request is not valid.", errors=found)


async def http_error(request: Request, error: HTTPException) -> ProblemResponse:
    drop_tracebacks(error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = allowed_methods(request)
        headers["Allow"] = ", ".join(allowed) or "GET, HEAD"  # static files are the rest
    return ProblemResponse(request.scope, error.status_code, str(error.detail), headers)


def allowed_methods(request: Request) -> list[str]:
    """Return all methods of the path. The framework returns those of the first matching route."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    allowed = [
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]
    return [*allowed, "HEAD"] if "GET" in allowed else allowed


def add_exception_handlers(app: FastAPI) -> None:
    # Starlette types a handler as one of any Exception.
    app.add_exception_handler(errors.AppError, app_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, http_error)  # type: ignore[arg-type]
