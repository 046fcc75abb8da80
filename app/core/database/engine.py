"""Engines for PostgreSQL and SQLite: how they connect, time out and begin transactions."""

import asyncio
import socket
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL, Connection, Dialect, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet

from app.core.config import Settings
from app.core.database.errors import (
    CONNECT_ERRORS,
    POSTGRES_STALE_POOL,
    as_unavailable,
    database_unavailable,
    raise_as_sqlalchemy,
)
from app.core.database.models import simple_lower
from app.core.database.pool import FairPool
from app.core.setting_values import SERVER_PARAMETERS

SQLITE_BUSY_SECONDS = 10
LOCK_TIMEOUT_SECONDS = 5
IDLE_IN_TRANSACTION_SECONDS = 30
# The server cancels a slow statement first, and the connection stays usable. If it does not respond
# within this time after that, the connection is dead, and the driver closes it.
DRIVER_GRACE_SECONDS = 1
# On Linux, an idle connection is probed after 30 s, and closed if the peer does not acknowledge
# within 15 s.
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 15_000,
}


class NoOpenConnection(Exception):
    """The pool has no open connection, and the caller cannot wait for a new one.

    Opening one takes a greenlet, which such a caller does without.
    """


class RolledBack(Exception):
    """PostgreSQL responded to COMMIT with ROLLBACK, since an earlier statement had failed."""


class PostgresConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection with TCP keepalive, so that it is closed when its peer dies silently."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if option := getattr(socket, name, None):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def create_postgres_engine(
    settings: Settings, *, statement_timeout: float | None = None, **pool: Any
) -> AsyncEngine:
    """Create an engine for PostgreSQL.

    With `statement_timeout` (in seconds), statements, lock waits and idle transactions are limited.
    The limits are set when a connection opens, or without prepared statements when a transaction
    begins: see `begin_statement`.
    """
    url, options = asyncpg_arguments(settings.database)
    options |= {"timeout": settings.database_pool_timeout, "connection_class": PostgresConnection}
    if statement_timeout:
        options["command_timeout"] = statement_timeout + DRIVER_GRACE_SECONDS
    if not settings.database_prepared_statements:
        # A pooler may run each transaction on another server connection. Without a cache, asyncpg
        # sends each statement's text without a name, so no server has to know or keep it. This
        # includes statements outside of transactions: SQLAlchemy reads the server's version on the
        # first connection of a new engine.
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    # hide_parameters keeps values, such as password hashes, out of logged tracebacks.
    engine = create_async_engine(url, connect_args=options, hide_parameters=True, **pool)
    setup_sql = ""
    if statement_timeout and settings.database_prepared_statements:
        setup_sql = timeout_statements(statement_timeout)
    event.listen(engine.sync_engine, "do_connect", partial(_connect, setup_sql=setup_sql))
    event.listen(engine.sync_engine, "handle_error", _raise_if_unavailable)
    return engine


def asyncpg_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the URL without libpq's parameters, and what asyncpg's `connect` calls them."""
    server_settings = {name: url.query[name] for name in SERVER_PARAMETERS if name in url.query}
    arguments: dict[str, Any] = {"server_settings": server_settings} if server_settings else {}
    if mode := url.query.get("sslmode"):
        arguments["ssl"] = mode
    # Without channel_binding=require, which the settings refuse, it makes no difference.
    libpq = (*SERVER_PARAMETERS, "sslmode", "channel_binding")
    return url.difference_update_query(libpq), arguments


def with_transactions(engine: AsyncEngine, begin: str) -> AsyncEngine:
    """Return an option engine of a PostgreSQL engine in AUTOCOMMIT that runs transactions.

    Statements that are sent straight to the driver could not join a transaction that SQLAlchemy
    manages. In AUTOCOMMIT, SQLAlchemy sends no BEGIN, COMMIT and ROLLBACK; these event listeners
    send them instead. The driver knows whether a transaction is open on the server.
    """
    engine = engine.execution_options(begin=begin)
    event.listen(engine.sync_engine, "before_cursor_execute", _begin)
    event.listen(engine.sync_engine, "commit", _commit)
    event.listen(engine.sync_engine, "rollback", _rollback)
    return engine


def _begin(connection: Connection, *_: object) -> None:
    adapter: Any = connection.connection.dbapi_connection
    if not adapter.driver_connection.is_in_transaction():
        _send(connection, connection.get_execution_options()["begin"])


def _commit(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    if driver.is_in_transaction():
        require_commit(_send(connection, "COMMIT"))


def _rollback(connection: Connection) -> None:
    if connection.invalidated:
        return
    driver: Any = connection.connection.driver_connection
    if not driver.is_closed() and driver.is_in_transaction():
        _send(connection, "ROLLBACK")


def _send(connection: Connection, command: str) -> str:
    adapter: Any = connection.connection.dbapi_connection
    try:
        status: str = adapter.run_async(lambda driver: driver.execute(command))
    except BaseException as error:
        is_closed = adapter.driver_connection.is_closed()
        if not isinstance(error, asyncpg.PostgresError):
            connection.invalidate()  # It is unknown whether the server ran the command.
        raise_as_sqlalchemy(error, is_closed=is_closed)
        raise
    return status


def require_commit(status: str) -> None:
    """Raise RolledBack unless the status of a COMMIT says that the server has committed."""
    if status != "COMMIT":
        raise RolledBack("A statement of this transaction failed, and nothing was committed.")


def begin_statement(settings: Settings, begin: str = "BEGIN") -> str:
    """Return the SQL that begins a transaction.

    Without prepared statements it also sets the time-outs: a pooler runs each transaction on
    another server connection, so that settings of the connection would be lost.
    """
    if settings.database_prepared_statements:
        return begin
    time_outs = timeout_statements(settings.database_statement_timeout, "SET LOCAL")
    return f"{begin}; {time_outs}"


def timeout_statements(statement_timeout: float, command: str = "SET") -> str:
    """Return the SQL that sets the time-outs of a connection or a transaction.

    They cannot be connection parameters, since PgBouncer refuses connections with those.
    """
    seconds = {
        "statement_timeout": statement_timeout,
        "lock_timeout": min(LOCK_TIMEOUT_SECONDS, statement_timeout),
        "idle_in_transaction_session_timeout": max(IDLE_IN_TRANSACTION_SECONDS, statement_timeout),
    }
    return "; ".join(f"{command} {name} = {int(value * 1000)}" for name, value in seconds.items())


def create_sqlite_engine(url: URL, synchronous: str = "NORMAL", **options: Any) -> AsyncEngine:
    """Create an engine for writing to SQLite.

    A transaction starts with BEGIN IMMEDIATE, which takes the write lock, so that what it reads
    cannot change before it writes.
    """
    engine = _create_sqlite_engine(url, f"synchronous={synchronous}", **options)
    event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def create_sqlite_reader(url: URL, **options: Any) -> AsyncEngine:
    """Create an engine whose connections refuse to write."""
    options |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    return _create_sqlite_engine(url, "query_only=ON", **options)


def _create_sqlite_engine(url: URL, pragma: str, **options: Any) -> AsyncEngine:
    options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS}
    engine = create_async_engine(url, hide_parameters=True, **options)
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(
        engine.sync_engine, "connect", lambda connection, _: _set_up_sqlite(connection, pragma)
    )
    event.listen(engine.sync_engine, "handle_error", _raise_if_unavailable)
    return engine


def _set_up_sqlite(connection: Any, pragma: str) -> None:
    connection.isolation_level = None  # The driver does not begin transactions by itself.
    connection.create_function("simple_lower", 1, simple_lower, deterministic=True)
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "foreign_keys=ON", pragma):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _connect(
    dialect: Dialect, _: object, args: list[Any], options: dict[str, Any], setup_sql: str = ""
) -> Any:
    if not in_greenlet():
        raise NoOpenConnection
    connection: Any = None
    try:
        connection = dialect.connect(*args, **options)
        if setup_sql:
            connection.run_async(lambda driver: driver.execute(setup_sql))
    except (*CONNECT_ERRORS, dialect.loaded_dbapi.Error) as error:
        if connection:
            connection.terminate()
        raise database_unavailable() from error
    return connection


def _raise_if_unavailable(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):  # The task was cancelled.
        return
    cause = error.__cause__ or error
    if isinstance(cause, POSTGRES_STALE_POOL):
        context.is_disconnect = True  # SQLAlchemy then replaces this connection.
        if context.engine and isinstance(context.engine.pool, FairPool):
            context.engine.pool.recycle_all()  # The other connections would fail as well.
    if unavailable := as_unavailable(cause):
        raise unavailable from error
    if context.is_disconnect:
        raise database_unavailable() from error
