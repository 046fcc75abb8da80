"""The session of the repositories: SQLAlchemy's AsyncSession, which also runs prepared queries.

On PostgreSQL, a prepared query is sent straight to asyncpg, on a connection of the engine's pool:
SQLAlchemy's own work around a statement takes several times as long as the statement.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Connection, PoolProxiedConnection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database.engine import NoOpenConnection, require_commit
from app.core.database.errors import (
    POSTGRES_STALE_POOL,
    POSTGRES_UNAVAILABLE,
    raise_as_sqlalchemy,
)
from app.core.database.events import discard_events
from app.core.database.queries import Compiled, Params, Query, RowT
from app.core.errors import Unavailable

Rows = list[Any]
AnyConnection = Connection | PoolProxiedConnection
ConnectionT = TypeVar("ConnectionT", Connection, PoolProxiedConnection)
CLOSE_SECONDS = 2
WRITE_IN_READ_ONLY_SESSION = "A session of a GET only reads. Use Database.transaction() to write."
COMMIT_IN_UNIT_OF_WORK = "Leave the commit to Database.transaction(), at the end of its block."


class Session(AsyncSession):
    """An AsyncSession with prepared queries, which take part in its transaction.

    A read-only session is in AUTOCOMMIT, unless its engine begins transactions.
    """

    def __init__(self, engine: AsyncEngine, *, read_only: bool) -> None:
        super().__init__(engine, expire_on_commit=False, join_transaction_mode="control_fully")
        self._engine = engine
        self._read_only = read_only
        self._is_direct = engine.dialect.driver == "asyncpg"
        self._begin: str | None = engine.sync_engine.get_execution_options().get("begin")
        # Holds the transaction that a prepared query began. SQLAlchemy's statements join it.
        self._transaction_connection: Connection | None = None

    async def fetch(self, query: Query[RowT], params: Params) -> list[RowT]:
        """Return the rows of a prepared query."""
        compiled = query.compiled(self._engine.dialect)
        if compiled.writes and self._read_only:
            raise TypeError(WRITE_IN_READ_ONLY_SESSION)
        if self.in_transaction():
            rows = await self._fetch_in_transaction(compiled, params)
        elif not self._is_direct:
            rows = await self.run_sync(_execute, compiled, params)
        elif self._begin:
            rows = await self._send(await self._begin_transaction(), compiled, params)
        else:
            rows = await self._read(compiled, params)
        return query.validate(compiled.read(rows))

    async def fetch_one(self, query: Query[RowT], params: Params) -> RowT | None:
        """Return the first row of a prepared query, or None."""
        rows = await self.fetch(query, params)
        return rows[0] if rows else None

    def begin(self) -> NoReturn:
        raise TypeError(COMMIT_IN_UNIT_OF_WORK)

    async def commit(self) -> NoReturn:
        raise TypeError(COMMIT_IN_UNIT_OF_WORK)

    async def commit_unit(self) -> None:
        """Commit the unit of work. Only Database.transaction() calls this."""
        connection = self._transaction_connection
        if self.in_transaction():
            await super().commit()
        elif connection:  # No statement of SQLAlchemy has joined the transaction.
            driver = _driver(connection)
            require_commit(await self._call_driver(connection, driver.execute, "COMMIT"))
            connection.commit()  # It has nothing left to send.
        if connection:
            self._forget_connection()
            connection.close()

    async def rollback(self) -> None:
        """Roll back all statements, whichever way they were sent. The next begins a transaction."""
        await self._end(super().rollback)

    async def close(self) -> None:
        if not self._read_only:
            await self.rollback()  # SQLAlchemy's close would ignore what a failed COMMIT left open.
        await self._end(super().close)

    async def _end(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        discard_events(self)
        connection = self._forget_connection()
        try:
            await end()
        finally:
            if connection:
                await _finish(self.run_sync(lambda _: connection.close()))

    async def __aexit__(self, *error: object) -> None:
        has_lost_changes = self._read_only and not any(error) and self._holds_changes()
        if self._transaction_connection or self.in_transaction():
            await super().__aexit__(*error)
        if has_lost_changes:
            raise TypeError(WRITE_IN_READ_ONLY_SESSION)

    def _holds_changes(self) -> bool:
        return self.in_transaction() and bool(
            self.new or self.deleted or any(map(self.is_modified, self.dirty))
        )

    def _forget_connection(self) -> Connection | None:
        """Detach and return the connection on which a prepared query began a transaction."""
        connection, self._transaction_connection = self._transaction_connection, None
        if connection:
            self.sync_session.bind = self._engine.sync_engine
        return connection

    async def _fetch_in_transaction(self, compiled: Compiled, params: Params) -> Rows:
        if self.new or self.dirty or self.deleted:
            await self.flush()
        if self._is_direct:
            connection: Any = (await self.connection()).sync_connection
            rows = await self._send(connection, compiled, params)
        else:
            rows = await self.run_sync(_execute, compiled, params)
        if compiled.writes:
            self._expire_entities(compiled)
        return rows

    def _expire_entities(self, compiled: Compiled) -> None:
        """Expire the loaded entities of the table that a query has changed."""
        for entity in self.identity_map.values():
            if compiled.table is None or compiled.table in inspect(entity).mapper.tables:
                self.expire(entity)

    async def _begin_transaction(self) -> Connection:
        if self._transaction_connection is None:
            connection = await self._check_out(self._engine.sync_engine.connect)
            connection.begin()
            self.sync_session.bind = self._transaction_connection = connection
        return self._transaction_connection

    async def _read(self, compiled: Compiled, params: Params, *, is_retry: bool = False) -> Rows:
        """Read in AUTOCOMMIT. Send the query once more if its connection was lost."""
        pool: Any = self._engine.pool
        connection = await self._check_out(self._engine.sync_engine.raw_connection)
        try:
            return await self._send(connection, compiled, params)
        except Unavailable as error:
            cause = error.__cause__
            is_slow = isinstance(cause, TimeoutError)
            if is_slow or is_retry or not isinstance(cause, POSTGRES_UNAVAILABLE):
                raise
        finally:
            pool.put_back(connection)
        return await self._read(compiled, params, is_retry=True)

    async def _check_out(self, connect: Callable[[], ConnectionT]) -> ConnectionT:
        """Check out a connection, without a greenlet if the pool has an open one.

        A greenlet costs as much as everything else that the pool does.
        """
        pool: Any = self._engine.pool
        await pool.admit()
        try:
            return connect()
        except NoOpenConnection:
            return await self.run_sync(lambda _: connect())

    async def _send(self, connection: AnyConnection, compiled: Compiled, params: Params) -> Rows:
        driver, arguments = _driver(connection), compiled.arguments(params)
        if self._begin and not driver.is_in_transaction():
            await self._call_driver(connection, driver.execute, self._begin)
        if compiled.custom_plan:
            statement = await self._call_driver(connection, driver.prepare, compiled.sql)
            rows = await self._call_driver(connection, statement.fetch, *arguments)
        else:
            rows = await self._call_driver(connection, driver.fetch, compiled.sql, *arguments)
        return rows  # type: ignore[no-any-return]  # asyncpg has no types.

    async def _call_driver(self, connection: AnyConnection, call: Any, *arguments: Any) -> Any:
        """Await a call of asyncpg. Raise the exceptions that SQLAlchemy's engine would raise."""
        try:
            return await call(*arguments)
        except BaseException as error:
            is_cancelled = not isinstance(error, Exception)
            is_stale = isinstance(error, POSTGRES_STALE_POOL)
            is_closed = _driver(connection).is_closed()
            if is_stale:
                pool: Any = self._engine.pool
                pool.recycle_all()
            if is_stale or is_closed or is_cancelled or isinstance(error, POSTGRES_UNAVAILABLE):
                await _finish(_discard(connection))  # Its protocol state is unknown.
            raise_as_sqlalchemy(error, is_closed=is_closed)
            raise


def _driver(connection: AnyConnection) -> Any:
    if isinstance(connection, Connection):
        connection = connection.connection
    return connection.driver_connection


async def _discard(connection: AnyConnection) -> None:
    """Close the connection, and cancel the statement that runs on it."""
    with suppress(Exception):
        await _driver(connection).close(timeout=CLOSE_SECONDS)
    connection.invalidate()


async def _finish(call: Coroutine[Any, Any, object]) -> None:
    """Await a call to its end, however often this task is cancelled meanwhile."""
    task, cancelled = asyncio.ensure_future(call), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failed = task.exception()
    if cancelled or failed:
        raise cancelled or failed  # type: ignore[misc]  # One of them is set.


def _execute(session: Any, compiled: Compiled, params: Params) -> Rows:
    arguments = tuple(compiled.arguments(params))
    return [*session.connection().exec_driver_sql(compiled.sql, arguments)]
