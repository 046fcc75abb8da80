"""The unit of work: a session whose changes are committed together, here and nowhere else.

A single place commits, so that it can also publish the events, and let nothing cancel the commit.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from anyio import to_thread
from sqlalchemy import event, text

from app.core.config import Settings
from app.core.context import disable_cancellation
from app.core.database.engine import (
    begin_statement,
    create_postgres_engine,
    create_sqlite_engine,
    create_sqlite_reader,
    with_transactions,
)
from app.core.database.events import (
    CommitOrder,
    Event,
    Publish,
    call_after_commit,
    recorded_events,
)
from app.core.database.pool import POOL_EVENTS, FairPool
from app.core.database.queries import WRITE
from app.core.database.session import WRITE_IN_READ_ONLY_SESSION, Session
from app.core.errors import DatabaseUnavailable

IS_WRITABLE = text(
    "SELECT NOT (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool)"
)

RepositoriesT = TypeVar("RepositoriesT")
BeforeCommit = Callable[[Session, Sequence[Event]], Awaitable[None]]


class Database:
    """Opens sessions: `reading()` to read only, `transaction()` to write.

    A session takes a connection at its first statement, and returns it at the end of its block.
    `publish` is called with the events of each commit, in the order of the commits. `invalidate` is
    called with them as soon as the commit was sent, even if its response was lost, so that a cache
    drops what may have changed. Each of `before_commit` is awaited with the session and its events
    at the end of its block, to add to the same transaction what follows from them.
    """

    def __init__(
        self,
        settings: Settings,
        publish: Publish = lambda events: None,
        invalidate: Publish = lambda events: None,
    ) -> None:
        url = settings.database
        self._commit_order = CommitOrder(publish)
        self._invalidate = invalidate
        self.before_commit: Sequence[BeforeCommit] = ()  # They are set later, since they use it.
        pool: dict[str, Any] = {
            "poolclass": FairPool,
            "pool_events": POOL_EVENTS,
            "pool_size": settings.database_pool_size,
            "pool_timeout": settings.database_pool_timeout,
        }
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            # SQLite allows one writer at a time. With a pool of one, the others wait in order,
            # instead of for the lock of the file.
            self.engine = create_sqlite_engine(
                url, synchronous=settings.sqlite_synchronous, **pool | {"pool_size": 1}
            )
            self.reader = create_sqlite_reader(url, **pool)
        else:
            engine = create_postgres_engine(
                settings,
                statement_timeout=settings.database_statement_timeout,
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,  # In AUTOCOMMIT there is nothing to roll back.
                **pool,
            )
            self.engine = with_transactions(engine, begin_statement(settings))
            # Reading in AUTOCOMMIT saves the round trips of BEGIN and ROLLBACK. Behind a pooler,
            # reads need a transaction, in which the time-outs are set.
            self.reader = (
                engine.execution_options()
                if settings.database_prepared_statements
                else with_transactions(engine, begin_statement(settings, "BEGIN READ ONLY"))
            )
        event.listen(self.reader.sync_engine, "before_cursor_execute", _refuse_write)

    @property
    def pools(self) -> dict[str, FairPool]:
        """Return the pools by their names. PostgreSQL has one for reading and writing."""
        pool = cast(FairPool, self.engine.pool)
        if not self.is_sqlite:
            return {"shared": pool}
        return {"write": pool, "read": cast(FairPool, self.reader.pool)}

    def reading(self) -> Session:
        return Session(self.reader, read_only=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Open a session that is committed at the end of the block, or rolled back by an exception.

        Its events are published after the commit.
        """
        async with Session(self.engine, read_only=False) as session:
            yield session
            if recorded := [*recorded_events(session)]:
                for call in self.before_commit:
                    await call(session, recorded)
            disable_cancellation()
            events = recorded_events(session)
            if events and session.in_transaction():
                await session.flush()  # It may wait for another commit, which is then first.
            try:
                with self._commit_order.reserve(events):
                    await session.commit_unit()
                call_after_commit(session)
            finally:  # If the response was lost, the commit may have succeeded.
                self._invalidate(events)

    async def check_writable(self) -> None:
        """Raise DatabaseUnavailable if the database is read-only, such as a standby."""
        if self.is_sqlite:
            path = Path(str(self.engine.url.database))
            is_writable = await to_thread.run_sync(os.access, path, os.W_OK)
        else:
            async with self.reading() as session:
                is_writable = await session.scalar(IS_WRITABLE)
            if not is_writable:
                # A new connection may reach another server.
                cast(FairPool, self.engine.pool).recycle_all()
        if not is_writable:
            raise DatabaseUnavailable("The database cannot be written to. Try again in a moment.")

    async def dispose(self) -> None:
        await self.reader.dispose()
        await self.engine.dispose()


class UnitsOfWork(Generic[RepositoriesT]):
    """A factory of short units of work.

    Services use it if they must not hold a connection while they await something else.
    """

    def __init__(
        self, repositories: Callable[[Session], RepositoriesT], database: Database
    ) -> None:
        self._repositories = repositories
        self._database = database

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[RepositoriesT]:
        async with self._database.reading() as session:
            yield self._repositories(session)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[RepositoriesT]:
        async with self._database.transaction() as session:
            yield self._repositories(session)


def _refuse_write(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    """Raise TypeError for a write in AUTOCOMMIT, which PostgreSQL would commit at once."""
    if WRITE.match(statement):
        raise TypeError(WRITE_IN_READ_ONLY_SESSION)
