"""Errors of the domain. They know no HTTP: each names its kind of problem.

`app.core.http.problem_kinds` has a status and a text for each kind.

AppError
 ├── Invalid               the values make no sense
 │    └── KeyReused        an idempotency key with another request
 ├── InvalidTokenRequest   RFC 6749, section 5.2
 ├── Unauthenticated
 ├── Forbidden
 │    └── MissingScope
 ├── NotFound
 ├── Conflict
 │    ├── AlreadyExists
 │    ├── InUse            other records refer to it
 │    ├── WrongStatus      the record's status does not allow it
 │    ├── LastSuperuser
 │    └── InProgress       the first request with the idempotency key
 ├── Stale                 it has changed since the client saw it
 ├── TooManyRequests
 ├── TooManyAtOnce         sockets, searches
 ├── TooManyTags           in a header field
 └── Unavailable           it passes by itself
      ├── DatabaseUnavailable
      ├── LockTimeout      another transaction holds the row
      └── Overloaded       all connections or threads are in use
"""

from typing import ClassVar


class AppError(Exception):
    """`detail` is for the client's eyes; never put there what they must not know."""

    kind: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(AppError):
    """A value that has the right shape and still cannot be; `loc` is where it stands."""

    kind = "validation"

    def __init__(self, detail: str, *loc: str | int) -> None:
        super().__init__(detail)
        self.loc = loc


class KeyReused(Invalid):
    kind = "idempotency-key-reused"


class InvalidTokenRequest(AppError):
    """`error` is one of RFC 6749's codes, such as "invalid_grant"."""

    kind = "invalid-token-request"

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class Unauthenticated(AppError):
    """`token_given` tells an invalid token from none at all (RFC 6750, section 3.1)."""

    kind = "unauthenticated"

    def __init__(self, detail: str, *, token_given: bool = True) -> None:
        super().__init__(detail)
        self.token_given = token_given


class Forbidden(AppError):
    kind = "forbidden"


class MissingScope(Forbidden):
    kind = "missing-scope"


class NotFound(AppError):
    kind = "not-found"


class Conflict(AppError):
    kind = "conflict"


class AlreadyExists(Conflict):
    kind = "already-exists"


class InUse(Conflict):
    kind = "in-use"


class WrongStatus(Conflict):
    kind = "wrong-status"


class LastSuperuser(Conflict):
    kind = "last-superuser"


class InProgress(Conflict):
    """The same is being done right now: its outcome can be asked for in a moment."""

    kind = "idempotency-in-progress"


class Stale(AppError):
    kind = "stale-version"


class TooManyRequests(AppError):
    """`policy` lets `limit` through in `window_seconds`, and another in `reset_seconds`."""

    kind = "rate-limited"

    def __init__(self, policy: str, limit: int, window_seconds: int, reset_seconds: int) -> None:
        super().__init__(
            f"Too many requests. Try again in {seconds(reset_seconds)}. "
            f"The limit is {limit:,} in {seconds(window_seconds)}."
        )
        self.policy = policy
        self.limit = limit
        self.window_seconds = window_seconds
        self.reset_seconds = reset_seconds


class TooManyAtOnce(AppError):
    kind = "too-many-at-once"


class TooManyTags(AppError):
    kind = "request-head-too-large"


class Unavailable(AppError):
    kind = "unavailable"


class DatabaseUnavailable(Unavailable):
    kind = "database-unavailable"


class LockTimeout(Unavailable):
    kind = "lock-timeout"


class Overloaded(Unavailable):
    kind = "overloaded"


def seconds(count: int) -> str:
    """Return a number of seconds in words."""
    return f"{count:,} second{'' if count == 1 else 's'}"
