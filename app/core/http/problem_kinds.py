"""The kinds of problems. Every problem document is of one of them, or else is `about:blank`.

An error of `app.core.errors` names its kind. For a new kind, add it here and to `docs/problems.md`.
"""

from http import HTTPStatus
from typing import Any, NamedTuple

from app.core.errors import AppError

PATH = "/problems"
MEDIA_TYPE = "application/problem+json"
# RFC 9110's names, which Python learned in 3.13.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


class ProblemKind(NamedTuple):
    """`summary` says what happened, and `advice` what to do next."""

    type: str
    status: int
    title: str
    summary: str
    advice: str


# The first kind of a status is its general one: an error that has only a status becomes that.
_TABLE = {
    "bad-request": (
        400,
        "Bad request",
        "The server does not accept the form of the request, its host name or its origin.",
        "Correct the request before you send it again.",
    ),
    "invalid-token-request": (
        400,
        "Token request refused",
        "The token endpoint refused the request (RFC 6749, section 5.2).",
        (
            "The member `error` is a code of OAuth2: for `invalid_grant`, sign in again; for "
            "`second_factor_required`, send a code with the `challenge`; for the others, correct "
            "the request."
        ),
    ),
    "unauthenticated": (
        401,
        "Not authenticated",
        "The request has no access token, or its token is invalid or has expired.",
        "Refresh the token or sign in again, then repeat the request.",
    ),
    "forbidden": (
        403,
        "Access denied",
        "You are not allowed to do this.",
        "Read the detail: it says what is missing.",
    ),
    "missing-scope": (
        403,
        "Missing scope",
        "The access token lacks a scope that this operation needs.",
        "Sign in again and request the scope that the detail names.",
    ),
    "password-required": (
        403,
        "Password required",
        "What you asked for takes your password, and you entered it too long ago.",
        "Enter it on the page `/confirm`, then repeat the request.",
    ),
    "second-factor-missing": (
        403,
        "Second factor missing",
        "Superusers can do this only with a second factor, and your account has none.",
        "Set it up on the page `/account/second-factor`, then repeat the request.",
    ),
    "cross-site-request": (
        403,
        "Cross-site request refused",
        "The form was sent from a page of another site.",
        "Open the page on this site and send the form again.",
    ),
    "not-found": (
        404,
        "Not found",
        "There is nothing at this address, or nothing that you can see.",
        "Check the address and the ID.",
    ),
    "method-not-allowed": (
        405,
        "Method not allowed",
        "This address does not support the method of the request.",
        "Use one of the methods in the header field `Allow`.",
    ),
    "request-timeout": (
        408,
        "Request timeout",
        "The request did not arrive in time.",
        "Send it again, in smaller parts on a slow connection.",
    ),
    "conflict": (
        409,
        "Conflict",
        "The request contradicts the stored data.",
        "Get the current data, then decide whether to repeat the request.",
    ),
    "already-exists": (
        409,
        "Already exists",
        "There is a record with this value already, and the value must be unique.",
        "Use another value, or the existing record.",
    ),
    "in-use": (
        409,
        "In use",
        "Other records refer to this record, so it cannot be deleted.",
        "Delete or change those records first.",
    ),
    "wrong-status": (
        409,
        "Not possible in this status",
        "The status of the record does not allow this.",
        "Get the record and check its status.",
    ),
    "last-superuser": (
        409,
        "Last superuser",
        "This is the last active superuser, and the site needs one.",
        "Create another superuser first.",
    ),
    "idempotency-in-progress": (
        409,
        "Request in progress",
        "The first request with this idempotency key is still in progress.",
        "Wait as long as `Retry-After` says, then send the same request with the same key.",
    ),
    "stale-version": (
        412,
        "Stale version",
        "The record has changed since you read it, and nothing was written.",
        "Get the record, apply your change to it, and send it with the new `ETag`.",
    ),
    "body-too-large": (
        413,
        "Body too large",
        "The body of the request is larger than the limit that the detail names.",
        "Send less, or split it into several requests.",
    ),
    "unsupported-media-type": (
        415,
        "Unsupported media type",
        "The server does not read bodies of this type here.",
        "Send JSON with `Content-Type: application/json`.",
    ),
    "range-not-satisfiable": (
        416,
        "Range not satisfiable",
        "The file is shorter than the part that `Range` asks for.",
        "Ask for a part within the size in `Content-Range`, or for the whole file.",
    ),
    "validation": (
        422,
        "Invalid request",
        "A field, a parameter or a header field has a value that is not allowed.",
        (
            "The member `errors` lists each of them with its location. Correct them and send "
            "the request again."
        ),
    ),
    "idempotency-key-reused": (
        422,
        "Idempotency key reused",
        "The idempotency key was used with another request within 24 hours.",
        "Use a new key for a new request.",
    ),
    "rate-limited": (
        429,
        "Too many requests",
        "You have reached a rate limit, which `RateLimit-Policy` names.",
        "Wait as long as `Retry-After` says, then repeat the request.",
    ),
    "too-many-at-once": (
        429,
        "Too many at once",
        "You have as many requests or sockets open at the same time as is allowed.",
        "Wait until one of them ends, then repeat the request.",
    ),
    "request-head-too-large": (
        431,
        "Request head too large",
        "The request line and the header fields are larger than the limit that the detail names.",
        "Send fewer or shorter ones, for example fewer cookies.",
    ),
    "internal-error": (
        500,
        "Internal server error",
        "The server failed because of a bug.",
        "Quote the request ID when you report it.",
    ),
    "unavailable": (
        503,
        "Service temporarily unavailable",
        "The server cannot do this at the moment.",
        "Wait as long as `Retry-After` says, then repeat the request.",
    ),
    "database-unavailable": (
        503,
        "Database unavailable",
        "The server does not reach its database, or the database cannot do this at the moment.",
        "Wait as long as `Retry-After` says, then repeat the request.",
    ),
    "lock-timeout": (
        503,
        "Lock timeout",
        "Other requests were changing the same data for too long.",
        "Wait as long as `Retry-After` says, then repeat the request.",
    ),
    "overloaded": (
        503,
        "Server overloaded",
        "More requests are waiting than the server can serve.",
        "Wait as long as `Retry-After` says, then repeat the request.",
    ),
}
KINDS = {name: ProblemKind(f"{PATH}/{name}", *values) for name, values in _TABLE.items()}
_BY_STATUS = {kind.status: kind for kind in reversed(KINDS.values())}


def kind_of_status(status: int) -> ProblemKind:
    """Return the general kind of a status, which is `about:blank` for a status of no kind."""
    phrase = phrase_of(status)
    return _BY_STATUS.get(status) or ProblemKind("about:blank", status, phrase, phrase, "")


def phrase_of(status: int) -> str:
    return PHRASES.get(status) or HTTPStatus(status).phrase


def problem_response(error: type[AppError], description: str) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses` for an error that the route can raise."""
    content = {MEDIA_TYPE: {"examples": example_of(error.kind)}}
    return {KINDS[error.kind].status: {"description": description, "content": content}}


def example_of(name: str) -> dict[str, Any]:
    """Return the reference to a kind's example in the OpenAPI document."""
    return {name: {"$ref": f"#/components/examples/{name}"}}
