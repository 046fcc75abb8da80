"""Errors in the form of GraphQL. `extensions.code` is the kind of problem of the REST API."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from graphql import GraphQLError
from pydantic import ValidationError
from strawberry.utils.str_converters import to_camel_case

from app.core.context import request_id_var
from app.core.errors import AppError, Invalid, Unavailable
from app.core.http.problems import INVALID, MAX_ERRORS, drop_tracebacks

error_logger = logging.getLogger("app.error")

UNEXPECTED = "Internal server error. Quote the request ID when you report it."
# What the REST API calls the arguments of a list.
ARGUMENTS = {"limit": "first", "cursor": "after"}


def raise_unavailable(errors: Iterable[GraphQLError]) -> None:
    """Raise the first error that passes by itself, which is a 503 for the whole request."""
    for error in errors:
        if isinstance(error.original_error, Unavailable):
            raise error.original_error


def describe_all(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    return [describe(error) for error in errors[:MAX_ERRORS]]


def describe(error: GraphQLError) -> dict[str, Any]:
    """Return an error as clients get it. Log it if it is unexpected."""
    message, extensions = _message_and_extensions(error)
    place = {key: value for key, value in error.formatted.items() if key in ("locations", "path")}
    drop_tracebacks(error.original_error)
    return {"message": message, **place, "extensions": extensions}


def _message_and_extensions(error: GraphQLError) -> tuple[str, dict[str, Any]]:
    match error.original_error:
        case None | GraphQLError():
            return error.message, {"code": "bad-request"}
        case ValidationError() as invalid:
            fields = [_field(each["loc"], each["msg"], each["type"]) for each in invalid.errors()]
            return INVALID, {"code": Invalid.kind, "errors": fields}
        case Invalid() as invalid:
            place = invalid.loc[1:]  # The first is where the REST API has it, such as "body".
            field = _field(place, invalid.detail, "value_error")
            return invalid.detail, {"code": invalid.kind, "errors": [field]}
        case AppError() as known:
            return known.detail, {"code": known.kind}
        case ValueError() if error.path is None:  # A scalar refuses a value of the document.
            return error.message, {"code": "bad-request"}
        case unexpected:
            error_logger.error("Unexpected error", exc_info=unexpected)
            extensions = {"code": "internal-error", "requestId": request_id_var.get()}
            return UNEXPECTED, extensions


def _field(loc: Sequence[str | int], message: str, type_: str) -> dict[str, Any]:
    """Return what is wrong with a field, whose location starts in the argument `input`."""
    names = [
        each if isinstance(each, int) else to_camel_case(ARGUMENTS.get(each, each)) for each in loc
    ]
    return {"loc": names, "msg": message, "type": type_}
