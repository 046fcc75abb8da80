"""Errors of the domain. They know no HTTP: `app.core.http.problems` maps them to it.

AppError
 ├── Invalid              what was asked for makes no sense
 ├── InvalidTokenRequest  RFC 6749, section 5.2
 ├── Unauthenticated
 ├── Forbidden
 │    └── MissingScope
 ├── NotFound
 ├── Conflict
 │    └── InProgress
 ├── Stale                it has changed since the client saw it
 ├── TooManyRequests
 ├── TooManyAtOnce        sockets, searches
 ├── TooManyTags          in a header field
 └── Unavailable          the database is away, or cannot do this at the moment
      └── LockTimeout     another transaction holds the row
"""


class AppError(Exception):
    """`detail` is for the client's eyes; never put there what they must not know."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(AppError):
    """A value that has the right shape and still cannot be; `loc` is where it stands."""

    def __init__(self, detail: str, *loc: str | int) -> None:
        super().__init__(detail)
        self.loc = loc


class InvalidTokenRequest(AppError):
    """`error` is one of RFC 6749's codes, such as "invalid_grant"."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class Unauthenticated(AppError):
    """`token_given` tells an invalid token from none at all (RFC 6750, section 3.1)."""

    def __init__(self, detail: str, *, token_given: bool = True) -> None:
        super().__init__(detail)
        self.token_given = token_given


class Forbidden(AppError): ...


class MissingScope(Forbidden): ...


class NotFound(AppError): ...


class Conflict(AppError): ...


class Stale(AppError): ...


class InProgress(Conflict):
    """The same is being done right now: its outcome can be asked for in a moment."""


class TooManyRequests(AppError):
    """`policy` lets `limit` through in `window_seconds`, and another in `reset_seconds`."""

    def __init__(self, policy: str, limit: int, window_seconds: int, reset_seconds: int) -> None:
        super().__init__(f"Too many requests: try again in {reset_seconds} s.")
        self.policy = policy
        self.limit = limit
        self.window_seconds = window_seconds
        self.reset_seconds = reset_seconds


class TooManyAtOnce(AppError): ...


class TooManyTags(AppError): ...


class Unavailable(AppError): ...


class LockTimeout(Unavailable): ...
