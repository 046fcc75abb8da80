"""Runs the migrations, all of them in one transaction, on the database that the settings name."""

import asyncio
import logging
from pathlib import Path
from typing import Any, Literal

from alembic import context
from alembic.command import upgrade
from sqlalchemy import Connection, event, text
from sqlalchemy.pool import NullPool

import app.core.http.idempotency_records
import app.core.jobs.schedule  # noqa: F401 - and others
from app.core.config import get_settings
from app.core.database.engine import (
    LOCK_TIMEOUT_SECONDS,
    create_postgres_engine,
    create_sqlite_engine,
)
from app.core.database.models import Base, Id, Money, UtcDateTime
from app.core.errors import LockTimeout
from app.discovery import discover

LOCK = 7_251_940_386  # any number, as long as it is the same everywhere

list(discover("models"))  # importing them fills the metadata
logger = logging.getLogger("app.migrations")
settings = get_settings()
is_sqlite = settings.database.get_backend_name() == "sqlite"


def render_type(kind: str, type_: Any, _: object) -> str | Literal[False]:
    """Migrations say what they mean without importing the application."""
    if kind == "type" and isinstance(type_, Id):
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    if kind == "type" and type_ is UtcDateTime:
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type_ is Money:
        return 'sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite")'
    return False


def is_compared(name: str | None, kind: str, _: object) -> bool:
    """Indexes of trigrams are PostgreSQL's alone: no model has them."""
    return not (kind == "index" and str(name).endswith("_trgm"))


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        include_name=is_compared,
        render_item=render_type,
        render_as_batch=is_sqlite,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if not is_sqlite:  # SQLite's transaction is a lock already
            # A statement may take as long as it needs; behind a pooler it may inherit a limit.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            # What waits for a lock on a table holds up everybody who comes after it.
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        if later := revisions_of_later_code():
            logger.warning("The schema is ahead of this code (%s): nothing to migrate.", later)
            return
        context.run_migrations()
        if is_sqlite and (orphans := connection.execute(text("PRAGMA foreign_key_check")).all()):
            raise RuntimeError(f"The migration leaves rows without their parents: {orphans}")


def revisions_of_later_code() -> str:
    """Return what an upgrade finds applied and this code does not know: it was rolled back."""
    options = context.config.cmd_opts  # None when it is not the command line that calls
    if options and options.cmd[0] is not upgrade:
        return ""
    known = {each.revision for each in context.script.walk_revisions()}
    return ", ".join(sorted(set(context.get_context().get_current_heads()) - known))


async def main() -> None:
    if is_sqlite:
        Path(str(settings.database.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_sqlite_engine(settings.database, poolclass=NullPool)
        # A batch change drops the table and makes it again: that would delete the children.
        event.listen(engine.sync_engine, "connect", _forget_foreign_keys)
    else:
        engine = create_postgres_engine(settings, poolclass=NullPool)
    async with engine.connect() as connection:
        try:
            await connection.run_sync(migrate)
        except LockTimeout:
            raise SystemExit(
                f"The migration waited {LOCK_TIMEOUT_SECONDS} s for a lock on a table that a long"
                " transaction uses. Nothing has changed: run it again when that has ended."
            ) from None
    await engine.dispose()


def _forget_foreign_keys(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    cursor.close()


asyncio.run(main())
