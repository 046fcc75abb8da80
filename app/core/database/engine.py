"""The engines on the two databases: how they connect, time out and begin transactions."""

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

SQLITE_BUSY_SECONDS = 10
LOCK_TIMEOUT_SECONDS = 5
IDLE_IN_TRANSACTION_SECONDS = 30
# The server cancels a statement first and the connection stays usable. A server that does not
# answer by then is not there any more: the connection is thrown away.
DRIVER_GRACE_SECONDS = 1
# Linux: an idle connection is probed after 30 s, and any that is not acknowledged ends after 15 s.
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 15_000,
}


class NoOpenConnection(Exception):
    """The pool has no open connection for a caller that cannot wait until one is opened."""


class RolledBack(Exception):
    """PostgreSQL answered COMMIT with ROLLBACK, since a statement of the transaction had failed."""


class PostgresConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose peer is probed, so that a link that died in silence is closed."""

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
    """Create an engine. With `statement_timeout` (seconds), statements, waits for locks and idle
    transactions are bounded: on each connection, or without prepared statements by what begins a
    transaction, see `begin_statement`."""
    options: dict[str, Any] = {"timeout": settings.database_pool_timeout}
    options["connection_class"] = PostgresConnection
    if statement_timeout:
        options["command_timeout"] = statement_timeout + DRIVER_GRACE_SECONDS
    if not settings.database_prepared_statements:
        # A pooler that gives each transaction another server. Without a cache asyncpg names no
        # statement, and sends its text again along with its values: no server has to know it, and
        # none keeps it. That holds outside of transactions, too, where SQLAlchemy asks the first
        # connection of a new engine for its version.
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    # hide_parameters: a traceback in the log holds no password hash.
    engine = create_async_engine(
        settings.database, connect_args=options, hide_parameters=True, **pool
    )
    set_up = ""
    if statement_timeout and settings.database_prepared_statements:
        set_up = timeout_statements(statement_timeout)
    event.listen(engine.sync_engine, "do_connect", partial(_connect, set_up=set_up))
    event.listen(engine.sync_engine, "handle_error", _raise_if_unavailable)
    return engine


def with_transactions(engine: AsyncEngine, begin: str) -> AsyncEngine:
    """Return a view of a PostgreSQL engine in AUTOCOMMIT whose connections run in transactions.

    SQLAlchemy keeps the transactions that it sends to itself: statements that go straight to the
    driver could not join them. In AUTOCOMMIT it sends nothing, and what it would have sent is sent
    here, at its events. Whether a transaction is open on the server, the driver knows.
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
        answer: str = adapter.run_async(lambda driver: driver.execute(command))
    except BaseException as error:
        is_closed = adapter.driver_connection.is_closed()
        if not isinstance(error, asyncpg.PostgresError):
            connection.invalidate()  # what the server has done is unknown
        raise_as_sqlalchemy(error, is_closed=is_closed)
        raise
    return answer


def require_commit(answer: str) -> None:
    """Raise RolledBack unless the server has committed: what failed is not told otherwise."""
    if answer != "COMMIT":
        raise RolledBack("A statement of this transaction failed, and nothing was committed.")


def begin_statement(settings: Settings, begin: str = "BEGIN") -> str:
    """Return what begins a transaction. Behind a pooler that gives each transaction another server
    it sets the time-outs along: a setting of the connection would stay with some server."""
    if settings.database_prepared_statements:
        return begin
    time_outs = timeout_statements(settings.database_statement_timeout, "SET LOCAL")
    return f"{begin}; {time_outs}"


def timeout_statements(statement_timeout: float, command: str = "SET") -> str:
    """Return what sets a connection's time-outs. They are statements, since PgBouncer refuses
    connections that ask for them as they open."""
    seconds = {
        "statement_timeout": statement_timeout,
        "lock_timeout": min(LOCK_TIMEOUT_SECONDS, statement_timeout),
        "idle_in_transaction_session_timeout": max(IDLE_IN_TRANSACTION_SECONDS, statement_timeout),
    }
    return "; ".join(f"{command} {name} = {int(value * 1000)}" for name, value in seconds.items())


def create_sqlite_engine(url: URL, **options: Any) -> AsyncEngine:
    """Its transactions are BEGIN IMMEDIATE: what one reads, nobody changes before it writes."""
    engine = _create_sqlite_engine(url, **options)
    event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def create_sqlite_reader(url: URL, **options: Any) -> AsyncEngine:
    options |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    engine = _create_sqlite_engine(url, **options)
    event.listen(
        engine.sync_engine, "connect", lambda connection, _: _pragma(connection, "query_only=ON")
    )
    return engine


def _create_sqlite_engine(url: URL, **options: Any) -> AsyncEngine:
    options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS}
    engine = create_async_engine(url, hide_parameters=True, **options)
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "handle_error", _raise_if_unavailable)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    connection.create_function("simple_lower", 1, simple_lower, deterministic=True)
    _pragma(connection, "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")


def _pragma(connection: Any, *settings: str) -> None:
    cursor = connection.cursor()
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _connect(
    dialect: Dialect, _: object, args: list[Any], options: dict[str, Any], set_up: str = ""
) -> Any:
    if not in_greenlet():
        raise NoOpenConnection
    connection: Any = None
    try:
        connection = dialect.connect(*args, **options)
        if set_up:
            connection.run_async(lambda driver: driver.execute(set_up))
    except (*CONNECT_ERRORS, dialect.loaded_dbapi.Error) as error:
        if connection:
            connection.terminate()
        raise database_unavailable() from error
    return connection


def _raise_if_unavailable(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):  # a cancellation
        return
    cause = error.__cause__ or error
    if isinstance(cause, POSTGRES_STALE_POOL):
        context.is_disconnect = True  # SQLAlchemy then replaces this connection
        if context.engine and isinstance(context.engine.pool, FairPool):
            context.engine.pool.recycle_all()  # and this the others
    if unavailable := as_unavailable(cause):
        raise unavailable from error
    if context.is_disconnect:
        raise database_unavailable() from error
