"""Domain errors, which are independent of HTTP: `app.core.http.problems` maps them to statuses.

AppError
 ├── Invalid              a value that is well-formed and not allowed
 ├── InvalidTokenRequest  RFC 6749, section 5.2
 ├── Unauthenticated
 ├── Forbidden
 │    └── MissingScope
 ├── NotFound
 ├── Conflict
 │    └── InProgress
 ├── Stale                the record has changed since the client read it
 ├── TooManyRequests
 ├── TooManyAtOnce        too many open sockets or running searches
 ├── TooManyTags          too many entity tags in a header field
 └── Unavailable          the database is unavailable, or cannot do this at the moment
      └── LockTimeout     another transaction holds the row
"""


class AppError(Exception):
    """The base of all domain errors. Clients see `detail`, so it must not contain secrets."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(AppError):
    """A value is well-formed and not allowed. `loc` is its location, such as ("body", "name")."""

    def __init__(self, detail: str, *loc: str | int) -> None:
        super().__init__(detail)
        self.loc = loc


class InvalidTokenRequest(AppError):
    """A token request is invalid. `error` is a code of RFC 6749, such as "invalid_grant"."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class Unauthenticated(AppError):
    """The request has no valid token.

    `token_given` says whether it has an invalid one, which RFC 6750, section 3.1, tells apart.
    """

    def __init__(self, detail: str, *, token_given: bool = True) -> None:
        super().__init__(detail)
        self.token_given = token_given


class Forbidden(AppError): ...


class MissingScope(Forbidden): ...


class NotFound(AppError): ...


class Conflict(AppError): ...


class Stale(AppError): ...


class InProgress(Conflict):
    """An identical request is running. The client can retry to get its result."""


class TooManyRequests(AppError):
    """A rate limit was exceeded.

    The policy admits `limit` requests in `window_seconds`, and the next one in `reset_seconds`.
    """

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
