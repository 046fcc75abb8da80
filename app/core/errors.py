"""Domain errors, which are independent of HTTP: each names its kind of problem.

`app.core.http.problem_kinds` has a status and a text for each kind.

AppError
 ├── Invalid               a value that is well-formed and not allowed
 │    └── KeyReused        an idempotency key with another request
 ├── InvalidTokenRequest   RFC 6749, section 5.2
 │    └── SecondFactorRequired  the password is right, and a code is needed, too
 ├── Unauthenticated
 │    └── NotSignedIn      a page for members, which a guest requests
 ├── Forbidden
 │    ├── MissingScope
 │    ├── PasswordRequired  the session was confirmed too long ago
 │    ├── FactorRequired   a second factor was used too long ago
 │    ├── WrongCode        a code of the second factor is wrong
 │    └── SecondFactorMissing  the role requires a second factor
 ├── NotFound
 ├── Conflict
 │    ├── AlreadyExists
 │    ├── InUse            other records refer to the record
 │    ├── WrongStatus      the record's status does not allow the change
 │    ├── LastSuperuser
 │    └── InProgress       the first request with the idempotency key is running
 ├── Stale                 the record has changed since the client read it
 ├── TooLarge              an uploaded file
 ├── TooManyRequests
 ├── TooManyAtOnce         too many open sockets, running searches or uploads
 ├── TooManyTags           too many entity tags in a header field
 └── Unavailable           something that passes by itself
      ├── DatabaseUnavailable
      ├── LockTimeout      another transaction holds the row
      └── Overloaded       all connections or threads are in use
"""

from typing import ClassVar


class AppError(Exception):
    """The base of all domain errors. Clients see `detail`, so it must not contain secrets.

    `detail` is English: `text` with the values of its {placeholders}. Pages translate `text`.
    """

    kind: ClassVar[str]

    def __init__(self, text: str, **values: object) -> None:
        self.text = text
        self.values = values
        self.detail = text.format_map(values) if values else text
        super().__init__(self.detail)


class Invalid(AppError):
    """A value is well-formed and not allowed. `loc` is its location, such as ("body", "name")."""

    kind = "validation"

    def __init__(self, text: str, *loc: str | int, **values: object) -> None:
        super().__init__(text, **values)
        self.loc = loc


class KeyReused(Invalid):
    kind = "idempotency-key-reused"


class InvalidTokenRequest(AppError):
    """A token request is invalid. `error` is a code of RFC 6749, such as "invalid_grant"."""

    kind = "invalid-token-request"

    def __init__(self, error: str, text: str, **values: object) -> None:
        super().__init__(text, **values)
        self.error = error


class SecondFactorRequired(InvalidTokenRequest):
    """The password is right. A code has to be sent, with the token `challenge`."""

    def __init__(self, challenge: str) -> None:
        detail = "Send the challenge with a code to /api/v1/auth/second-factor."
        super().__init__("second_factor_required", detail)
        self.challenge = challenge


class Unauthenticated(AppError):
    """The request has no valid token.

    `token_given` says whether it has an invalid one, which RFC 6750, section 3.1, tells apart.
    """

    kind = "unauthenticated"

    def __init__(self, detail: str, *, token_given: bool = True) -> None:
        super().__init__(detail)
        self.token_given = token_given


class NotSignedIn(Unauthenticated):
    def __init__(self) -> None:
        super().__init__("Sign in to see this page.", token_given=False)


class Forbidden(AppError):
    kind = "forbidden"


class MissingScope(Forbidden):
    kind = "missing-scope"


class PasswordRequired(Forbidden):
    kind = "password-required"


class FactorRequired(Forbidden):
    """The password is not enough: the account has a second factor, used too long ago."""

    kind = "factor-required"

    def __init__(self) -> None:
        super().__init__("This requires your second factor. Confirm with it, then try again.")


class WrongCode(Forbidden):
    """A code of the second factor is wrong."""


class SecondFactorMissing(Forbidden):
    kind = "second-factor-missing"

    def __init__(self) -> None:
        super().__init__("Superusers need a second factor here. Set it up on your account page.")


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
    """An identical request is running. The client can retry to get its result."""

    kind = "idempotency-in-progress"


class Stale(AppError):
    kind = "stale-version"


class TooLarge(AppError):
    kind = "body-too-large"


class TooManyRequests(AppError):
    """A rate limit was exceeded.

    The policy admits `limit` requests in `window_seconds`, and the next one in `reset_seconds`.
    """

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
