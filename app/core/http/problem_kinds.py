"""The kinds of problems. Every problem document is of one of them, or else is `about:blank`.

An error of `app.core.errors` names its kind. For a new kind, add it here and to `docs/problems.md`.
"""

from http import HTTPStatus
from typing import Any, NamedTuple

from app.core.errors import AppError
from app.core.translation import mark

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
        mark("Bad request"),
        mark("The server does not accept the form of the request, its host name or its origin."),
        mark("Correct the request before you send it again."),
    ),
    "invalid-token-request": (
        400,
        mark("Token request refused"),
        mark("The token endpoint refused the request (RFC 6749, section 5.2)."),
        mark(
            "The member `error` is a code of OAuth2: for `invalid_grant`, sign in again; for "
            "`second_factor_required`, send a code with the `challenge`; for the others, correct "
            "the request."
        ),
    ),
    "unauthenticated": (
        401,
        mark("Not authenticated"),
        mark("The request has no access token, or its token is invalid or has expired."),
        mark("Refresh the token or sign in again, then repeat the request."),
    ),
    "forbidden": (
        403,
        mark("Access denied"),
        mark("You are not allowed to do this."),
        mark("Read the detail: it says what is missing."),
    ),
    "missing-scope": (
        403,
        mark("Missing scope"),
        mark("The access token lacks a scope that this operation needs."),
        mark("Sign in again and request the scope that the detail names."),
    ),
    "password-required": (
        403,
        mark("Password required"),
        mark("What you asked for requires your password, and you entered it too long ago."),
        mark(
            "Enter it on the page `/confirm`, or send it to `POST /api/v1/auth/confirm`, then "
            "repeat the request."
        ),
    ),
    "factor-required": (
        403,
        mark("Second factor required"),
        mark(
            "What you asked for requires your second factor, not the password alone, and you used "
            "it too long ago."
        ),
        mark(
            "Use it on the page `/confirm`, or send a code to `POST /api/v1/auth/confirm`, then "
            "repeat the request."
        ),
    ),
    "second-factor-missing": (
        403,
        mark("Second factor missing"),
        mark("Superusers can do this only with a second factor, and your account has none."),
        mark("Set it up on the page `/account/second-factor`, then repeat the request."),
    ),
    "cross-site-request": (
        403,
        mark("Cross-site request refused"),
        mark("The form was sent from a page of another site."),
        mark("Open the page on this site and send the form again."),
    ),
    "not-found": (
        404,
        mark("Not found"),
        mark("There is nothing at this address, or nothing that you can see."),
        mark("Check the address and the ID."),
    ),
    "method-not-allowed": (
        405,
        mark("Method not allowed"),
        mark("This address does not support the method of the request."),
        mark("Use one of the methods in the header field `Allow`."),
    ),
    "request-timeout": (
        408,
        mark("Request timeout"),
        mark("The request did not arrive in time."),
        mark("Send it again, in smaller parts on a slow connection."),
    ),
    "conflict": (
        409,
        mark("Conflict"),
        mark("The request contradicts the stored data."),
        mark("Get the current data, then decide whether to repeat the request."),
    ),
    "already-exists": (
        409,
        mark("Already exists"),
        mark("There is a record with this value already, and the value must be unique."),
        mark("Use another value, or the existing record."),
    ),
    "in-use": (
        409,
        mark("In use"),
        mark("Other records refer to this record, so it cannot be deleted."),
        mark("Delete or change those records first."),
    ),
    "wrong-status": (
        409,
        mark("Not possible in this status"),
        mark("The status of the record does not allow this."),
        mark("Get the record and check its status."),
    ),
    "last-superuser": (
        409,
        mark("Last superuser"),
        mark("This is the last active superuser, and the site needs one."),
        mark("Create another superuser first."),
    ),
    "idempotency-in-progress": (
        409,
        mark("Request in progress"),
        mark("The first request with this idempotency key is still in progress."),
        mark("Wait as long as `Retry-After` says, then send the same request with the same key."),
    ),
    "stale-version": (
        412,
        mark("Stale version"),
        mark("The record has changed since you read it, and nothing was written."),
        mark("Get the record, apply your change to it, and send it with the new `ETag`."),
    ),
    "body-too-large": (
        413,
        mark("Body too large"),
        mark("The body of the request is larger than the limit that the detail names."),
        mark("Send less, or split it into several requests."),
    ),
    "unsupported-media-type": (
        415,
        mark("Unsupported media type"),
        mark("The server does not read bodies of this type here."),
        mark("Send JSON with `Content-Type: application/json`."),
    ),
    "range-not-satisfiable": (
        416,
        "Range not satisfiable",
        "The file is shorter than the part that `Range` asks for.",
        "Ask for a part within the size in `Content-Range`, or for the whole file.",
    ),
    "validation": (
        422,
        mark("Invalid request"),
        mark("A field, a parameter or a header field has a value that is not allowed."),
        mark(
            "The member `errors` lists each of them with its location. Correct them and send "
            "the request again."
        ),
    ),
    "idempotency-key-reused": (
        422,
        mark("Idempotency key reused"),
        mark("The idempotency key was used with another request within 24 hours."),
        mark("Use a new key for a new request."),
    ),
    "rate-limited": (
        429,
        mark("Too many requests"),
        mark("You have reached a rate limit, which `RateLimit-Policy` names."),
        mark("Wait as long as `Retry-After` says, then repeat the request."),
    ),
    "too-many-at-once": (
        429,
        mark("Too many at once"),
        mark("You have as many requests or sockets open at the same time as is allowed."),
        mark("Wait until one of them ends, then repeat the request."),
    ),
    "request-head-too-large": (
        431,
        mark("Request head too large"),
        mark(
            "The request line and the header fields are larger than the limit that the detail "
            "names."
        ),
        mark("Send fewer or shorter ones, for example fewer cookies."),
    ),
    "internal-error": (
        500,
        mark("Internal server error"),
        mark("The server failed because of a bug."),
        mark("Quote the request ID when you report it."),
    ),
    "unavailable": (
        503,
        mark("Service temporarily unavailable"),
        mark("The server cannot do this at the moment."),
        mark("Wait as long as `Retry-After` says, then repeat the request."),
    ),
    "database-unavailable": (
        503,
        mark("Database unavailable"),
        mark(
            "The server does not reach its database, or the database cannot do this at the moment."
        ),
        mark("Wait as long as `Retry-After` says, then repeat the request."),
    ),
    "lock-timeout": (
        503,
        mark("Lock timeout"),
        mark("Other requests were changing the same data for too long."),
        mark("Wait as long as `Retry-After` says, then repeat the request."),
    ),
    "overloaded": (
        503,
        mark("Server overloaded"),
        mark("More requests are waiting than the server can serve."),
        mark("Wait as long as `Retry-After` says, then repeat the request."),
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
