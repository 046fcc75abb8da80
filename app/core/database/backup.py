"""Backups of the whole database, and their restoration: `app db backup` and `app db restore`.

SQLite copies itself. PostgreSQL's own programs do it there, and get the connection's parameters in
their environment, where other users cannot read the password.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import URL, inspect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from app.core.config import Settings
from app.core.database.engine import (
    LOCK_TIMEOUT_SECONDS,
    SQLITE_BUSY_SECONDS,
    create_postgres_engine,
    create_sqlite_engine,
)

Stream = IO[bytes] | int | None
VERSION_TABLE = "alembic_version"  # each backup has it, and few other databases do
NO_BACKUP = f"This is not a database of this application: it has no table {VERSION_TABLE}."
# The parameters of a database URL, and the variables that PostgreSQL's programs read.
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "database": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "options": "PGOPTIONS",
}
# It keeps the schema with its owner and privileges, and extensions, which not every user may
# create.
DROP_ALL = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'",
    "SET LOCAL client_min_messages = warning",
    """DO $$ DECLARE object text; BEGIN
    FOR object IN
        SELECT 'TABLE IF EXISTS ' || oid::regclass FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
        UNION ALL
        SELECT 'ROUTINE IF EXISTS ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    LOOP EXECUTE 'DROP ' || object || ' CASCADE'; END LOOP;
END $$""",
)
PLAIN = ("--no-owner", "--no-privileges", "--no-comments")  # Another user may restore it.


class BackupError(Exception):
    """A backup or a restoration failed. The message is one line for the user."""


def back_up(settings: Settings, file: Path) -> None:
    """Write a backup to a new file, which only its owner may read.

    The file gets its name when it is complete, so that an interrupted backup is not mistaken for
    one.
    """
    if file.exists():
        raise BackupError(f"{file} exists already: choose another name.")
    if not file.parent.is_dir():
        raise BackupError(f"{file.parent} is not a folder.")
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        if is_sqlite(settings):
            _back_up_sqlite(_sqlite_path(settings), draft)
        else:
            options = ("--no-password", "--format=custom", *PLAIN)
            _run(settings.database, "pg_dump", *options, f"--file={draft}")
            _require_archive(settings.database, draft)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)


def restore(settings: Settings, file: Path) -> None:
    """Replace all data of the database by those of a backup, or change nothing."""
    if not file.is_file():
        raise BackupError(f"{file} is not a file.")
    if is_sqlite(settings):
        _restore_sqlite(file, _sqlite_path(settings))
    else:
        _require_archive(settings.database, file)
        _restore_postgres(settings.database, file)


async def has_tables(settings: Settings) -> bool:
    engine = _engine(settings)
    async with engine.connect() as connection:
        names: list[str] = await connection.run_sync(lambda each: inspect(each).get_table_names())
    await engine.dispose()
    return bool(names)


async def drop_all(settings: Settings) -> None:
    """Drop all tables and functions, in one transaction."""
    if is_sqlite(settings):
        with closing(sqlite3.connect(":memory:")) as empty:
            _copy(empty, _sqlite_path(settings))
        return
    engine = _engine(settings)
    async with engine.begin() as connection:
        for statement in DROP_ALL:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


def is_sqlite(settings: Settings) -> bool:
    return settings.database.get_backend_name() == "sqlite"


def _engine(settings: Settings) -> AsyncEngine:
    if is_sqlite(settings):
        _sqlite_path(settings).parent.mkdir(parents=True, exist_ok=True)
        return create_sqlite_engine(settings.database, poolclass=NullPool)
    return create_postgres_engine(settings, poolclass=NullPool)


def _sqlite_path(settings: Settings) -> Path:
    return Path(str(settings.database.database))


def _back_up_sqlite(path: Path, file: Path) -> None:
    if not path.exists():
        raise BackupError(f"There is no database at {path}.")
    with _sqlite(path) as source:
        _copy(source, file)
    with _sqlite(file) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")  # So the copy is a single file.
        _require_intact(copy)


def _restore_sqlite(file: Path, path: Path) -> None:
    with _sqlite(file, "ro") as source:
        _require_intact(source)
        _copy(source, path)


@contextmanager
def _sqlite(path: Path, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """Open an existing database. Its errors are those of a backup."""
    url = f"{path.resolve().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(url, SQLITE_BUSY_SECONDS, uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise BackupError(f"{path}: {error}.") from error


def _copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database, as it is at this moment, into another in one transaction.

    All pages are copied in one step, since a copy in several would start anew after each write of
    another process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _sqlite(path, "rwc") as target:
        source.backup(target)


def _require_intact(connection: sqlite3.Connection) -> None:
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise BackupError(f"The backup is damaged: {result}.")
    tables = "SELECT 1 FROM sqlite_schema WHERE name = ?"
    if not connection.execute(tables, [VERSION_TABLE]).fetchone():
        raise BackupError(NO_BACKUP)


def _require_archive(url: URL, file: Path) -> None:
    if f" {VERSION_TABLE} ".encode() not in _run(url, "pg_restore", "--list", str(file)):
        raise BackupError(NO_BACKUP)


def _restore_postgres(url: URL, file: Path) -> None:
    """Run the statements of an archive in one transaction, and commit if all of it was read."""
    options = ("--no-password", "--no-psqlrc", "--set=ON_ERROR_STOP=1")
    with _started(url, "psql", *options, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as psql:
        assert psql.stdin  # noqa: S101 - it is a pipe
        failure: Exception | None = None
        try:
            psql.stdin.write(";".join(["BEGIN", *DROP_ALL, ""]).encode())
            psql.stdin.flush()
            _run(url, "pg_restore", *PLAIN, "--file=-", str(file), stdout=psql.stdin)
            psql.stdin.write(b"COMMIT;")
        except (BackupError, BrokenPipeError) as error:
            failure = error  # Without COMMIT, the server rolls back.
        _end(psql)  # If psql failed first, its messages give the cause.
        if failure:
            raise failure


def _run(url: URL, program: str, *arguments: str, stdout: Stream = subprocess.PIPE) -> bytes:
    """Run one of PostgreSQL's client programs to its end, and return its output."""
    with _started(url, program, *arguments, stdin=None, stdout=stdout) as process:
        return _end(process)


def _started(
    url: URL, program: str, *arguments: str, stdin: Stream, stdout: Stream
) -> "subprocess.Popen[bytes]":
    path = shutil.which(program)
    if path is None:
        raise BackupError(f"{program} is missing: install the client programs of PostgreSQL.")
    _, options = url.get_dialect()().create_connect_args(url)
    given = {VARIABLES[name]: str(options[name]) for name in VARIABLES if name in options}
    return subprocess.Popen(  # noqa: S603 - There is no shell.
        [path, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | given,
    )


def _end(process: "subprocess.Popen[bytes]") -> bytes:
    """Wait until a program ends. Raise BackupError with its messages if it failed."""
    output, messages = process.communicate()
    if process.returncode:
        lines = (line.strip() for line in messages.decode(errors="replace").splitlines())
        name = Path(str(process.args[0])).name  # type: ignore[index]  # It is a list.
        raise BackupError("; ".join(filter(None, lines)) or f"{name} failed.")
    return output or b""
