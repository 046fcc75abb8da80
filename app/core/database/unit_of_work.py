"""The only transaction boundary of the application."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from anyio import to_thread
from fastapi import Depends, Request
from sqlalchemy import event, text

from app.core.config import Settings
from app.core.database.engine import (
    FairPool,
    create_postgres_engine,
    create_sqlite_engine,
    create_sqlite_reader,
)
from app.core.database.queries import WRITE
from app.core.database.session import READS_ONLY, Session
from app.core.disconnect import finish_request
from app.core.errors import Unavailable
from app.core.events import Commits, Publish, recorded


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
        self._commits = Commits(publish)
        self._hear = hear
        # No overflow: such a connection is opened and closed for a single use.
        pool: dict[str, Any] = {
            "poolclass": FairPool,
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
            timeout = settings.database_statement_timeout
            self.engine = create_postgres_engine(settings, statement_timeout=timeout, **pool)
            # AUTOCOMMIT saves the round trips of BEGIN and ROLLBACK.
            self.reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self.reader.sync_engine, "before_cursor_execute", _refuse_write)
        self._straight = not self.is_sqlite and settings.database_prepared_statements

    def reading(self) -> Session:
        return Session(self.reader, reads=True, straight=self._straight)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Committed at the end of the block, rolled back by any exception. Its events are
        published as soon as it is committed."""
        async with Session(self.engine, reads=False, straight=self._straight) as session:
            yield session
            finish_request()
            events = recorded(session)
            if events and session.in_transaction():
                await session.flush()  # which may wait for another's commit: then it is first
            try:
                with self._commits.turn(events):
                    await session.commit()
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
                read_only = await session.scalar(text("SHOW transaction_read_only"))
            is_writable = read_only == "off"
            if not is_writable:
                cast(FairPool, self.engine.pool).renew()  # the next one may reach another server
        if not is_writable:
            raise Unavailable("The database cannot be written to.")

    async def dispose(self) -> None:
        await self.reader.dispose()
        await self.engine.dispose()


def _refuse_write(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    """Raise what a reading session would commit on PostgreSQL."""
    if WRITE.match(statement):
        raise TypeError(READS_ONLY)


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def get_session(request: Request) -> AsyncIterator[Session]:
    database: Database = request.app.state.database
    reads = request.method in ("GET", "HEAD")
    async with database.reading() if reads else database.transaction() as session:
        yield session


# scope="function": committed before the response leaves, so that a failed commit is never a 2xx.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
