"""The drivers' errors that mean that the database is unavailable, so that a retry may succeed.

Any other error of a driver is a bug, and becomes a 500.
"""

import sqlite3

import asyncpg
from sqlalchemy.exc import IntegrityError

from app.core.errors import AppError, DatabaseUnavailable, LockTimeout, Unavailable

# The connection is lost. TimeoutError, an OSError, is the driver's limit for a silent connection.
POSTGRES_UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
    # A migration has changed the table of a prepared statement.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
# The statement failed, and the connection stays usable.
POSTGRES_TRANSIENT = (
    asyncpg.QueryCanceledError,  # by the statement time-out or by an administrator
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, no more locks
)
# Every connection of the pool would fail in the same way, but a new one would not: the network path
# is silent, or the primary became a standby.
POSTGRES_STALE_POOL = (TimeoutError, asyncpg.ReadOnlySQLTransactionError)
SQLITE_UNAVAILABLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)
CONNECT_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def one_line(error: AppError) -> str:
    """Return an error for the person who runs a command, and why the database is unavailable."""
    cause = str(error.__cause__ or "").strip().partition("\n")[0]
    return f"{error.detail} ({cause})" if cause and isinstance(error, Unavailable) else error.detail


def database_unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database is not reachable. Try again in a moment.")


def as_unavailable(error: BaseException) -> Unavailable | None:
    """Return the exception to raise for an error of a driver, or None if the error is a bug."""
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LockTimeout("Another request is changing the same data. Try again in a moment.")
    if isinstance(error, (*POSTGRES_UNAVAILABLE, *POSTGRES_STALE_POOL)):
        return database_unavailable()
    if isinstance(error, POSTGRES_TRANSIENT):
        return DatabaseUnavailable("The database cannot do this now. Try again in a moment.")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_UNAVAILABLE:
        return database_unavailable()
    return None


def raise_as_sqlalchemy(error: BaseException, *, is_closed: bool) -> None:
    """Raise the exception that the engine would raise for an error of the driver.

    Return if that is the error itself. `is_closed` says whether the error closed the connection.
    """
    if is_closed and isinstance(error, Exception):
        raise database_unavailable() from error
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        raise IntegrityError(None, None, error) from error
    if unavailable := as_unavailable(error):
        raise unavailable from error
