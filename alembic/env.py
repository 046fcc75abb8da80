"""Alembic's environment: it runs the migrations on the database of the settings.

All migrations of an upgrade are one transaction, so that a failed upgrade changes nothing.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from alembic import context
from alembic.command import upgrade
from sqlalchemy import Connection, event, text
from sqlalchemy.pool import NullPool

import app.core.http.idempotency_records
import app.core.jobs.schedule  # noqa: F401 - their tables belong to no slice
from app.core.config import get_settings
from app.core.database.autogenerate import compare_default, make_portable, render_item
from app.core.database.check_constraints import PLUGINS
from app.core.database.engine import (
    LOCK_TIMEOUT_SECONDS,
    create_postgres_engine,
    create_sqlite_engine,
)
from app.core.database.errors import one_line
from app.core.database.migrations import require_all_migrations
from app.core.database.models import Base
from app.core.errors import LockTimeout, Unavailable
from app.discovery import discover

LOCK_ID = 7_251_940_386  # an arbitrary number, which must never change

list(discover("models"))  # Importing the models adds their tables to the metadata.
logger = logging.getLogger("app.migrations")
settings = get_settings()
is_sqlite = settings.database.get_backend_name() == "sqlite"


def is_compared(name: str | None, kind: str, _: object) -> bool:
    """Ignore trigram indexes, which exist on PostgreSQL only, and which no model declares."""
    return not (kind == "index" and str(name).endswith("_trgm"))


def write_sql() -> None:
    """Write the migrations as SQL for PostgreSQL: `alembic upgrade FROM:TO --sql`."""
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # The driver's own style doubles each percent sign.
        literal_binds=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=compare_default,
        autogenerate_plugins=PLUGINS,
        include_name=is_compared,
        render_item=render_item,
        process_revision_directives=make_portable,
        render_as_batch=True,  # SQLite cannot alter a table, wherever the migration was made
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
    require_all_migrations(context.script)
    if is_sqlite:
        path = Path(str(settings.database.database))
        try:
            make_private_file(path)
        except OSError as error:
            raise SystemExit(f"The folder of the database cannot be made: {error}") from None
        engine = create_sqlite_engine(settings.database, poolclass=NullPool)
        # A batch operation drops and recreates the table, which would delete referencing rows.
        event.listen(engine.sync_engine, "connect", _disable_foreign_keys)
    else:
        engine = create_postgres_engine(settings, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    except LockTimeout:
        raise SystemExit(
            f"The migration waited {LOCK_TIMEOUT_SECONDS} s for a lock on a table that a long"
            " transaction uses. Nothing has changed: run it again when that has ended."
        ) from None
    except Unavailable as error:
        raise SystemExit(one_line(error)) from None
    await engine.dispose()


def _disable_foreign_keys(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    cursor.close()


if context.is_offline_mode():
    write_sql()
else:
    asyncio.run(main())
