"""The only place that commits."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

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
from app.core.database.events import CommitOrder, Publish, recorded_events
from app.core.database.pool import FairPool
from app.core.database.queries import WRITE
from app.core.database.session import WRITE_IN_READ_ONLY_SESSION, Session
from app.core.errors import Unavailable

IS_WRITABLE = text(
    "SELECT NOT (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool)"
)


class Database:
    """`reading()` for what changes nothing, `transaction()` for what does.

    `publish` gets the events of each commit in their order; `hear` gets them at once, also when the
    answer to the commit was lost.
    A session takes a connection at its first statement and gives it back at the end of its block.
    """

    def __init__(
        self,
        settings: Settings,
        publish: Publish = lambda events: None,
        hear: Publish = lambda events: None,
    ) -> None:
        url = settings.database
        self._commit_order = CommitOrder(publish)
        self._hear = hear
        pool: dict[str, Any] = {
            "poolclass": FairPool,
            "pool_size": settings.database_pool_size,
            "pool_timeout": settings.database_pool_timeout,
        }
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            # SQLite has one writer at a time: the others wait here, in order, and not on the file.
            self.engine = create_sqlite_engine(url, **pool | {"pool_size": 1})
            self.reader = create_sqlite_reader(url, **pool)
        else:
            engine = create_postgres_engine(
                settings,
                statement_timeout=settings.database_statement_timeout,
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,  # there is nothing to roll back
                **pool,
            )
            self.engine = with_transactions(engine, begin_statement(settings))
            # AUTOCOMMIT saves the round trips of BEGIN and ROLLBACK. But a pooler may give each
            # transaction another server, and its time-outs are set in it.
            self.reader = (
                engine.execution_options()
                if settings.database_prepared_statements
                else with_transactions(engine, begin_statement(settings, "BEGIN READ ONLY"))
            )
        event.listen(self.reader.sync_engine, "before_cursor_execute", _refuse_write)

    def reading(self) -> Session:
        return Session(self.reader, read_only=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Committed at the end of the block, rolled back by any exception. Its events are
        published as soon as it is committed."""
        async with Session(self.engine, read_only=False) as session:
            yield session
            disable_cancellation()
            events = recorded_events(session)
            if events and session.in_transaction():
                await session.flush()  # which may wait for another's commit: then it is first
            try:
                with self._commit_order.reserve(events):
                    await session.commit_unit()
            finally:  # An answer that was lost may have been a yes.
                self._hear(events)

    async def check_writable(self) -> None:
        """Raise Unavailable when the database answers and cannot be written to: a standby, a
        read-only disk."""
        if self.is_sqlite:
            path = Path(str(self.engine.url.database))
            is_writable = await to_thread.run_sync(os.access, path, os.W_OK)
        else:
            async with self.reading() as session:
                is_writable = await session.scalar(IS_WRITABLE)
            if not is_writable:
                cast(
                    FairPool, self.engine.pool
                ).recycle_all()  # the next one may reach another server
        if not is_writable:
            raise Unavailable("The database cannot be written to.")

    async def dispose(self) -> None:
        await self.reader.dispose()
        await self.engine.dispose()


def _refuse_write(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    """Raise what a reading session would commit on PostgreSQL."""
    if WRITE.match(statement):
        raise TypeError(WRITE_IN_READ_ONLY_SESSION)
