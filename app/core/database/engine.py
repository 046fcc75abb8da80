"""The engines on the two databases, their connections, and what tells that a database is away."""

import asyncio
import socket
import sqlite3
import time
from collections import deque
from functools import partial
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
from app.core.database.models import simple_lower
from app.core.errors import LockTimeout, Unavailable

# What PostgreSQL or the network say as they go away. TimeoutError, an OSError, is the driver's own
# limit: the link is silent. What is in none of these lists is a bug, and answered as one.
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
# What passes by itself while the connection stays usable.
POSTGRES_PASSING = (
    asyncpg.QueryCanceledError,  # the statement time-out, or an administrator
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, no more locks
)
# The same error comes from every connection of the pool, and from no new one: a link that went
# silent, and a primary that became a standby.
POSTGRES_STALE_POOL = (TimeoutError, asyncpg.ReadOnlySQLTransactionError)
SQLITE_AWAY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)
# What a connection that is being made may raise.
CONNECTING = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
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

    def renew(self) -> None:
        """Replace every connection that was opened before now when it is next checked out."""
        self._invalidate_time = time.time()

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


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
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
    transactions are bounded."""
    options: dict[str, Any] = {"timeout": settings.database_pool_timeout}
    options["connection_class"] = Connection
    if statement_timeout:
        options["command_timeout"] = statement_timeout + DRIVER_GRACE_SECONDS
    if not settings.database_prepared_statements:
        # A pooler that gives each transaction another server (PgBouncer before 1.21).
        options |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        options["prepared_statement_name_func"] = lambda: f"__asyncpg_{uuid4()}__"
    # hide_parameters: a traceback in the log holds no password hash.
    engine = create_async_engine(
        settings.database, connect_args=options, hide_parameters=True, **pool
    )
    set_up = statements_of_time_outs(statement_timeout) if statement_timeout else ""
    event.listen(engine.sync_engine, "do_connect", partial(_connect, set_up=set_up))
    event.listen(engine.sync_engine, "checkout", _discard_closed)
    event.listen(engine.sync_engine, "handle_error", _raise_if_unavailable)
    return engine


def statements_of_time_outs(statement_timeout: float) -> str:
    """Return what sets a new connection's time-outs. They are statements, since PgBouncer refuses
    connections that ask for them as they open."""
    seconds = {
        "statement_timeout": statement_timeout,
        "lock_timeout": min(LOCK_TIMEOUT_SECONDS, statement_timeout),
        "idle_in_transaction_session_timeout": max(IDLE_IN_TRANSACTION_SECONDS, statement_timeout),
    }
    return "; ".join(f"SET {name} = {int(value * 1000)}" for name, value in seconds.items())


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
    connection: Any = None
    try:
        connection = dialect.connect(*args, **options)
        if set_up:
            connection.run_async(lambda driver: driver.execute(set_up))
    except (*CONNECTING, dialect.loaded_dbapi.Error) as error:
        if connection:
            connection.terminate()
        raise away() from error
    return connection


def _discard_closed(_: object, record: Any, proxy: PoolProxiedConnection) -> None:
    """What died while idle costs no request, and unlike `pool_pre_ping` no round trip."""
    if record.driver_connection.is_closed():
        raise exc.DisconnectionError


def _raise_if_unavailable(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):  # a cancellation
        return
    cause = error.__cause__ or error
    if isinstance(cause, POSTGRES_STALE_POOL):
        context.is_disconnect = True  # SQLAlchemy then renews this connection and the pool
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY or context.is_disconnect:
        raise away() from error
    if unavailable := unavailable_by(cause):
        raise unavailable from error


def unavailable_by(error: BaseException) -> Unavailable | None:
    """Return what to raise for an error of asyncpg's; None for one that is a bug."""
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LockTimeout("Another request is changing the same data. Try again in a moment.")
    if isinstance(error, (*POSTGRES_AWAY, *POSTGRES_STALE_POOL)):
        return away()
    if isinstance(error, POSTGRES_PASSING):
        return Unavailable("The database cannot do this at the moment.")
    return None


def away() -> Unavailable:
    return Unavailable("The database is not reachable.")
