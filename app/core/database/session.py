"""The session that repositories are given: SQLAlchemy's, with a straight way for a `Query`.

On PostgreSQL a `Query` goes to asyncpg, which keeps it prepared, on a connection of the engine's
own pool: what SQLAlchemy does around a statement costs several times what the statement does.
"""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import ManagesConnection
from sqlalchemy.util import greenlet_spawn

from app.core.database.engine import POSTGRES_AWAY, POSTGRES_STALE_POOL, away, unavailable_by
from app.core.database.queries import Params, Query, RowT
from app.core.errors import Unavailable
from app.core.events import RECORDED

Rows = list[Any]
READS_ONLY = "A session of a GET only reads. Take one of Database.transaction() to write."


class Session(AsyncSession):
    """Opens nothing before it is used. What runs through it shares its transaction, whichever way.

    One that only reads is in AUTOCOMMIT; there, a query whose connection broke, or that a migration
    overtook, is sent once more.
    """

    def __init__(self, engine: AsyncEngine, *, reads: bool, straight: bool) -> None:
        self._bind = engine
        self._engine = engine.sync_engine
        self._reads = reads
        self._straight = straight
        self._begun: PoolProxiedConnection | None = None  # with the transaction that a query began

    if not TYPE_CHECKING:  # it would know any name

        def __getattr__(self, name: str) -> Any:
            """Of SQLAlchemy's, which is made when first asked for: few queries need it."""
            if self._is_made() or "_bind" not in self.__dict__:
                raise AttributeError(name)
            super().__init__(self._bind, expire_on_commit=False)
            return getattr(self, name)

    def _is_made(self) -> bool:
        return "sync_session" in self.__dict__

    def in_transaction(self) -> bool:
        return self._is_made() and super().in_transaction()

    async def fetch(self, query: Query[RowT], params: Params) -> list[RowT]:
        compiled = query.compiled(self._engine.dialect)
        if self._reads and compiled.writes:
            raise TypeError(READS_ONLY)
        arguments = compiled.arguments(params)
        if not self._straight or self.in_transaction():
            rows = await self.run_sync(_fetch, compiled.sql, arguments)
        elif self._reads:
            rows = await self._read(query, compiled.sql, arguments)
        else:
            connection = self._begun or await self._begin()
            rows = await send(connection, query, compiled.sql, arguments, self._pool)
        return query.shape(compiled.read(rows))

    async def fetch_one(self, query: Query[RowT], params: Params) -> RowT | None:
        rows = await self.fetch(query, params)
        return rows[0] if rows else None

    async def commit(self) -> None:
        if self.in_transaction():  # of SQLAlchemy's: it may have joined the query's
            await super().commit()
        elif self._begun:
            adapter = _adapter(self._begun)
            transaction, adapter._transaction = adapter._transaction, None  # over, even if it fails
            await _guarded(self._pool, self._begun, transaction.commit)
        if begun := self._release():
            begun.close()  # with nothing to roll back it awaits nothing

    async def rollback(self) -> None:
        """Undo what ran through it, whichever way. What follows is a transaction of its own."""
        begun = self._release()
        try:
            if self._is_made():
                self.info.pop(RECORDED, None)  # events of what has not happened
                await super().rollback()  # a commit that failed needs more than to be closed
        finally:
            if begun:
                await greenlet_spawn(begun.close)  # the pool rolls back

    async def close(self) -> None:
        """What is not committed is rolled back."""
        if not self._reads:
            await self.rollback()
        await super().close()

    async def __aexit__(self, *error: object) -> None:
        is_lost = self._reads and self._is_made() and not any(error) and self._holds_changes()
        if self._begun or self.in_transaction():  # else there is nothing to close
            await super().__aexit__(*error)
        if is_lost:
            raise TypeError(READS_ONLY)

    def _holds_changes(self) -> bool:
        return bool(self.new or self.deleted or any(map(self.is_modified, self.dirty)))

    def _release(self) -> PoolProxiedConnection | None:
        """Let go of the connection that a query began a transaction on."""
        begun, self._begun = self._begun, None
        if begun:
            self.sync_session.bind = self._engine
        return begun

    @property
    def _pool(self) -> Any:
        return self._engine.pool

    async def _read(
        self, query: Query[Any], sql: str, arguments: list[Any], *, again: bool = True
    ) -> Rows:
        pool = self._pool
        entry = pool.take() if await pool.wait() else None
        connection: Any = entry or await greenlet_spawn(self._engine.raw_connection)
        try:
            return await send(connection, query, sql, arguments, pool)
        except Unavailable as error:
            cause = error.__cause__
            is_slow = isinstance(cause, TimeoutError) or not isinstance(cause, POSTGRES_AWAY)
            if is_slow or not again:
                raise
        finally:
            if entry:
                pool.give_back(entry)
            else:
                connection.close()
        return await self._read(query, sql, arguments, again=False)

    async def _begin(self) -> PoolProxiedConnection:
        connection = await self._check_out()
        transaction = connection.driver_connection.transaction()  # type: ignore[union-attr]  # there
        try:
            await _guarded(self._pool, connection, transaction.start)
        except BaseException:
            connection.close()
            raise
        _adapter(connection)._transaction = transaction  # as if SQLAlchemy had begun it: it joins
        self.sync_session.bind = Connection(self._engine, connection)
        self._begun = connection
        return connection

    async def _check_out(self) -> PoolProxiedConnection:
        if await self._pool.wait():
            return self._engine.raw_connection()
        return await greenlet_spawn(self._engine.raw_connection)


async def send(
    connection: ManagesConnection, query: Query[Any], sql: str, arguments: list[Any], pool: Any
) -> Rows:
    driver: Any = connection.driver_connection
    fetch, statement = driver.fetch, [sql]
    if query.plan_anew:
        prepared = await _guarded(pool, connection, driver.prepare, sql)
        fetch, statement = prepared.fetch, []
    rows: Rows = await _guarded(pool, connection, fetch, *statement, *arguments)
    return rows


async def _guarded(pool: Any, connection: ManagesConnection, call: Any, *arguments: Any) -> Any:
    """asyncpg's errors become what SQLAlchemy's engine makes of them."""
    try:
        return await call(*arguments)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError(None, None, error) from error
    except BaseException as error:
        driver: Any = connection.driver_connection
        is_error = isinstance(error, Exception)
        is_stale = isinstance(error, POSTGRES_STALE_POOL)
        is_away = isinstance(error, POSTGRES_AWAY) or (is_error and driver.is_closed())
        if is_stale:
            pool.renew()
        if is_stale or is_away or not is_error:  # cut, or cancelled: what is on the wire is unknown
            await _finish(greenlet_spawn(connection.invalidate))
        if is_away:
            raise away() from error
        if unavailable := unavailable_by(error):
            raise unavailable from error
        raise


async def _finish(call: Coroutine[Any, Any, None]) -> None:
    """However often it is cancelled meanwhile: anyio does so again and again."""
    task, cancelled = asyncio.ensure_future(call), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failed = task.exception()
    if cancelled or failed:
        raise cancelled or failed  # type: ignore[misc]  # one of them is there


def _fetch(session: Any, sql: str, arguments: list[Any]) -> Rows:
    session.flush()
    return [*session.connection().exec_driver_sql(sql, tuple(arguments))]


def _adapter(connection: PoolProxiedConnection) -> Any:
    """SQLAlchemy's, around the driver's. Its `_transaction` has no public name."""
    return connection.dbapi_connection
