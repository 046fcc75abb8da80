"""Alembic's environment: it runs the migrations on the database of the settings.

All migrations of an upgrade are one transaction, so that a failed upgrade changes nothing.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any, Literal

from alembic import context
from alembic.command import upgrade
from sqlalchemy import Connection, event, text
from sqlalchemy.pool import NullPool

import app.core.http.idempotency_records
import app.core.jobs.schedule  # noqa: F401 - their tables belong to no slice
from app.core.config import get_settings
from app.core.database.engine import (
    LOCK_TIMEOUT_SECONDS,
    create_postgres_engine,
    create_sqlite_engine,
)
from app.core.database.models import Base, Id, Money, UtcDateTime
from app.core.errors import LockTimeout
from app.discovery import discover

LOCK_ID = 7_251_940_386  # an arbitrary number, which must never change

list(discover("models"))  # Importing the models adds their tables to the metadata.
logger = logging.getLogger("app.migrations")
settings = get_settings()
is_sqlite = settings.database.get_backend_name() == "sqlite"


def render_type(kind: str, type_: Any, _: object) -> str | Literal[False]:
    """Render our column types as SQLAlchemy's, so that migrations do not import the application.

    The application's types may change later, and a migration must not.
    """
    if kind == "type" and isinstance(type_, Id):
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    if kind == "type" and type_ is UtcDateTime:
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type_ is Money:
        return 'sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite")'
    return False


def is_compared(name: str | None, kind: str, _: object) -> bool:
    """Ignore trigram indexes, which exist on PostgreSQL only, and which no model declares."""
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
        if not is_sqlite:  # On SQLite, the transaction itself is the lock.
            # Migrations have no statement time-out, which a pooler's connection may have.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK_ID})
            # While a migration waits for the lock of a table, all later requests wait behind it.
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        if later := revisions_of_later_code():
            logger.warning("The schema is ahead of this code (%s): nothing to migrate.", later)
            return
        context.run_migrations()
        if is_sqlite and (orphans := connection.execute(text("PRAGMA foreign_key_check")).all()):
            raise RuntimeError(f"The migration leaves rows without their parents: {orphans}")


def revisions_of_later_code() -> str:
    """Return the applied revisions that this code lacks, since it was rolled back to before them.

    Only an upgrade ignores them.
    """
    options = context.config.cmd_opts  # None unless the alembic command line runs.
    if options and options.cmd[0] is not upgrade:
        return ""
    known = {revision.revision for revision in context.script.walk_revisions()}
    return ", ".join(sorted(set(context.get_context().get_current_heads()) - known))


def make_private_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # SQLite's other files get the mode of this one


async def main() -> None:
    if is_sqlite:
        make_private_file(Path(str(settings.database.database)))
        engine = create_sqlite_engine(settings.database, poolclass=NullPool)
        # A batch operation drops and recreates the table, which would delete referencing rows.
        event.listen(engine.sync_engine, "connect", _disable_foreign_keys)
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


def _disable_foreign_keys(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    cursor.close()


asyncio.run(main())
