"""Which errors of the drivers mean that the database is unavailable, and pass by themselves.

What is in none of these lists is a bug, and answered as one.
"""

import sqlite3

import asyncpg
from sqlalchemy.exc import IntegrityError

from app.core.errors import LockTimeout, Unavailable

# The connection is gone. TimeoutError, an OSError, is the driver's own limit: the link is silent.
POSTGRES_UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
    # A migration has changed the table under a prepared statement.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
# The connection stays usable.
POSTGRES_TRANSIENT = (
    asyncpg.QueryCanceledError,  # the statement time-out, or an administrator
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, no more locks
)
# The same error comes from every connection of the pool, and from no new one: a link that went
# silent, and a primary that became a standby.
POSTGRES_STALE_POOL = (TimeoutError, asyncpg.ReadOnlySQLTransactionError)
SQLITE_UNAVAILABLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)
CONNECT_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def database_unavailable() -> Unavailable:
    return Unavailable("The database is not reachable.")


def as_unavailable(error: BaseException) -> Unavailable | None:
    """Return what to raise for an error of a driver, or None for one that is a bug."""
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LockTimeout("Another request is changing the same data. Try again in a moment.")
    if isinstance(error, (*POSTGRES_UNAVAILABLE, *POSTGRES_STALE_POOL)):
        return database_unavailable()
    if isinstance(error, POSTGRES_TRANSIENT):
        return Unavailable("The database cannot do this at the moment.")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_UNAVAILABLE:
        return database_unavailable()
    return None


def raise_as_sqlalchemy(error: BaseException, *, is_closed: bool) -> None:
    """Raise what SQLAlchemy's engine would for an error of the driver, if that is another one.

    `is_closed` tells whether the connection is closed after the error.
    """
    if is_closed and isinstance(error, Exception):
        raise database_unavailable() from error
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        raise IntegrityError(None, None, error) from error
    if unavailable := as_unavailable(error):
        raise unavailable from error
