"""The engines, the sessions, and the only transaction boundary of the application."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import URL, Dialect, PoolProxiedConnection, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.events import Event, recorded
from app.core.orm import simple_lower

# What PostgreSQL or the network say as they go away. Everything else is a bug, and answered as one.
POSTGRES_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
    # Not away, but as passing: a migration changed the table under a prepared statement.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
SQLITE_AWAY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)
SQLITE_BUSY_SECONDS = 10

Publish = Callable[[Sequence[Event]], object]


class Database:
    """`reading()` for what changes nothing, `transaction()` for what does.

    A session takes a connection at its first statement and gives it back at the end of its block.
    """

    def __init__(self, settings: Settings, publish: Publish = lambda events: None) -> None:
        url = settings.database
        self._publish = publish
        # No overflow: such a connection is opened and closed for a single use.
        pool: dict[str, Any] = {
            "pool_size": settings.database_pool_size,
            "pool_timeout": settings.database_pool_timeout,
            "max_overflow": 0,
        }
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            # SQLite has one writer at a time: the others wait here, in order, and not on the file.
            self.engine = create_sqlite_engine(url, **pool | {"pool_size": 1})
            self.reader = create_sqlite_reader(url, **pool)
        else:
            self.engine = create_postgres_engine(settings, **pool)
            # AUTOCOMMIT saves the round trips of BEGIN and ROLLBACK.
            self.reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = async_sessionmaker(self.reader, expire_on_commit=False)
        self._writing = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        with _pool_timeouts():
            async with self._reading() as session:
                yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Committed at the end of the block, rolled back by any exception. Its events are
        published as soon as it is committed."""
        with _pool_timeouts():
            async with self._writing.begin() as session:
                yield session
        if events := recorded(session):
            self._publish(events)

    async def dispose(self) -> None:
        await self.reader.dispose()
        await self.engine.dispose()


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def get_session(request: Request, database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    reads = request.method in ("GET", "HEAD")
    async with database.reading() if reads else database.transaction() as session:
        yield session


# scope="function": committed before the response leaves, so that a failed commit is never a 2xx.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


def create_postgres_engine(settings: Settings, **pool: Any) -> AsyncEngine:
    options: dict[str, Any] = {"timeout": settings.database_pool_timeout}
    if not settings.database_prepared_statements:
        # A pooler that gives each transaction another server (PgBouncer before 1.21).
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        options["prepared_statement_name_func"] = lambda: f"__asyncpg_{uuid4()}__"
    # hide_parameters: a traceback in the log holds no password hash.
    engine = create_async_engine(
        settings.database, connect_args=options, hide_parameters=True, **pool
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "checkout", _discard_closed)
    event.listen(engine.sync_engine, "handle_error", _raise_if_away)
    return engine


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
    event.listen(engine.sync_engine, "handle_error", _raise_if_away)
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


def _connect(dialect: Dialect, _: object, args: list[Any], options: dict[str, Any]) -> Any:
    try:
        return dialect.connect(*args, **options)
    except (OSError, asyncpg.PostgresError, dialect.loaded_dbapi.Error) as error:
        raise Unavailable("The database is not reachable.") from error


def _discard_closed(_: object, record: Any, proxy: PoolProxiedConnection) -> None:
    """What died while idle costs no request, and unlike `pool_pre_ping` no round trip."""
    if record.driver_connection.is_closed():
        raise exc.DisconnectionError


def _raise_if_away(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):  # a cancellation
        return
    cause = error.__cause__ or error
    locked = getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY
    if context.is_disconnect or locked or isinstance(cause, POSTGRES_AWAY):
        raise Unavailable("The database is not reachable.") from error


@contextmanager
def _pool_timeouts() -> Iterator[None]:
    try:
        yield
    except exc.TimeoutError as error:
        raise Unavailable("All connections to the database are in use.") from error
