"""The engines on the two databases, their connections, and what tells that a database is away."""

import asyncio
import sqlite3
from collections import deque
from typing import Any, Literal
from uuid import uuid4

import asyncpg
from sqlalchemy import URL, Dialect, PoolProxiedConnection, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import Empty, QueueCommon

from app.core.config import Settings
from app.core.errors import Unavailable
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
TOO_LATE = object()


class FairQueue(QueueCommon[ConnectionPoolEntry]):
    """First come, first served. asyncio's queue wakes who has waited longest, but whoever comes by
    before they run takes the connection: under load some would wait for seconds. Of those that are
    idle the one that was used last is taken: its server has what it needs at hand."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = True) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._idle = list[ConnectionPoolEntry]()
        self._waiters = deque[asyncio.Future[Any]]()  # an entry, None: make one, or TOO_LATE

    def qsize(self) -> int:
        return len(self._idle)

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        if not self.wake(item):
            self._idle.append(item)  # there is room: no more are made than it holds

    def put(
        self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None
    ) -> None:
        self.put_nowait(item)

    def wake(self, item: ConnectionPoolEntry | None = None) -> bool:
        """Who has waited longest. Without an item: one may be made."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # it has not gone away
                waiter.set_result(item)
                return True
        return False

    def put_first(self, item: ConnectionPoolEntry) -> None:
        """Whoever waits: for who takes it at once."""
        self._idle.append(item)

    def peek(self) -> Any:
        return self._idle[-1] if self._idle else None

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:
        if self._idle:
            return self._idle.pop()
        if not block:
            raise Empty
        return await_only(self.wait(timeout))

    async def wait(self, seconds: float | None) -> ConnectionPoolEntry:
        """Raises Empty when one may be made."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = loop.create_future()
        self._waiters.append(waiter)
        # asyncio.timeout costs several times as much.
        timer = None if seconds is None else loop.call_later(seconds, _give_up, waiter)
        try:
            given = await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and (given := waiter.result()) is not TOO_LATE:
                self.put_nowait(given) if given else self.wake()  # it came at the very last moment
            raise
        finally:
            if timer:
                timer.cancel()
        if given is TOO_LATE:
            late = TimeoutError(f"after {seconds} s")
            raise Unavailable("All connections to the database are in use.") from late
        if given is None:
            raise Empty
        entry: ConnectionPoolEntry = given
        return entry


def _give_up(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(TOO_LATE)


class FairPool(AsyncAdaptedQueuePool):
    _queue_class = FairQueue
    _pool: FairQueue

    async def wait(self) -> bool:
        """For one to be idle, where no more may be made. Whether it can be taken at once, without a
        greenlet, which takes as long to make as all else that the pool does."""
        if self._pool.peek() is None:
            if self.overflow() < self._max_overflow:
                return False
            try:
                self._pool.put_first(await self._pool.wait(self._timeout))
            except Empty:
                return False
        if self._pre_ping or self._recycle > -1:
            return False
        idle = self._pool.peek()
        return not (idle._is_hard_or_soft_invalidated() or idle.driver_connection.is_closed())

    def take(self) -> ConnectionPoolEntry:
        """What `wait` has found, without all that SQLAlchemy puts around one at each check-out: it
        takes as long as a query. For a statement of its own; then it is given back."""
        return self._pool.get(block=False)

    def give_back(self, entry: ConnectionPoolEntry) -> None:
        self._pool.put_nowait(entry)

    def _do_get(self) -> ConnectionPoolEntry:
        while True:
            try:
                return super()._do_get()
            except exc.TimeoutError:  # somebody else has made the one that might be made
                continue

    def _dec_overflow(self) -> Literal[True]:
        """One could not be made: the next in line may find the database back."""
        super()._dec_overflow()
        self._pool.wake()
        return True


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
        raise away() from error


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
        raise away() from error


def away() -> Unavailable:
    return Unavailable("The database is not reachable.")
