"""Problem documents (RFC 9457): all errors are turned into responses here."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import Scope

from app.core import errors
from app.core.about import SLUG
from app.core.http.problem_kinds import KINDS, MEDIA_TYPE, ProblemKind, kind_of_status, phrase_of

logger = logging.getLogger("app.http")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RETRY_AFTER_SECONDS = "5"
MAX_ERRORS = 100
INVALID = "The request is invalid: `errors` lists each field with what is wrong."
WEAK_TAG = (
    'If-Match has a weak entity tag, such as W/"3" or "3-gzip", which never matches. A proxy that'
    ' compresses responses makes such of ours: send "3", or have the server set ACCEPT_WEAK_ETAGS.'
)


class InvalidField(BaseModel):
    loc: list[str | int] = Field(
        description="Location of the error: `body`, `query`, `path` or `header`, then the path to"
        " the field."
    )
    msg: str
    type: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(
        description="The kind of problem, a path of this server. `docs/problems.md` and the page "
        "at `/problems` list them. Expect new ones.",
        examples=[each.type for each in KINDS.values()],
    )
    title: str = Field(description="The same for every problem of one type.")
    status: int
    detail: str = Field(description="What went wrong this time, for people to read.")
    instance: str = Field(description="The path of the request.")
    request_id: str = Field(description="Quote it when you report the problem.")
    errors: list[InvalidField] | None = Field(default=None, description="Only with status 422.")


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE

    def __init__(
        self,
        scope: Scope,
        kind: ProblemKind,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        body = {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "instance": scope["path"],
            "request_id": scope.get("request_id"),
        }
        super().__init__(body | members, kind.status, headers)

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()  # ASCII: a lone surrogate cannot be sent as UTF-8


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
    request.scope["error"] = error  # pages translate it
    detail, headers, members = error.detail, dict[str, str](), dict[str, Any]()
    match error:
        case errors.Stale() if request.scope.get("has_weak_tag"):
            detail = WEAK_TAG
        case errors.InvalidTokenRequest():
            headers["Cache-Control"] = "no-store"
            members = {"error": error.error, "error_description": error.detail}
            if isinstance(error, errors.SecondFactorRequired):
                members["challenge"] = error.challenge
        case errors.Unauthenticated():
            reason = 'error="invalid_token"' if error.token_given else f'realm="{SLUG}"'
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
    return ProblemResponse(request.scope, KINDS[error.kind], detail, headers, **members)


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
        detail = "The body must be JSON, with `Content-Type: application/json`."
        return ProblemResponse(request.scope, KINDS["unsupported-media-type"], detail)
    details = error.errors()
    if len(details) > MAX_ERRORS:  # the first of each field, or of each element of a list
        details = list({each["loc"][:2]: each for each in reversed(details)}.values())[::-1]
    # Never `input`: it may be a password, or NaN.
    found = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in details]
    return ProblemResponse(request.scope, KINDS["validation"], INVALID, errors=found)


async def http_error(request: Request, error: HTTPException) -> ProblemResponse:
    drop_tracebacks(error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = allowed_methods(request)
        headers["Allow"] = ", ".join(allowed) or "GET, HEAD"  # static files are the rest
    return general_problem(request.scope, error.status_code, str(error.detail), headers)


def general_problem(
    scope: Scope, status: int, detail: str, headers: Mapping[str, str]
) -> ProblemResponse:
    """Return the problem of a status, for what a library refuses.

    Libraries say no more than HTTP's phrase of the status, and never name the limit of a body.
    """
    kind = kind_of_status(status)
    if status == 413:
        detail = scope.get("body_limit", detail)
    elif detail in (phrase_of(status), ""):
        detail = kind.summary
    return ProblemResponse(scope, kind, detail, headers)


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
