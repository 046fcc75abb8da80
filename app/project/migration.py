"""Migrations that Alembic writes from the models, as `make migration` does.

A new migration follows the newest one. So only one process writes one at a time, and there is one
newest migration.
"""

import fcntl
import os
import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.project.postgres_objects import creations, drops, objects_of, read_statements
from app.project.processes import run

BIND = re.compile(r"(?<![:\w\\]):(?=\w)")  # SQLAlchemy takes a colon for that of a parameter.
LONG, LONGEST = "  # noqa: E501", 88
RUFF = ("--quiet", "--no-respect-gitignore")
LOCKED = (
    "Another run writes a migration at the moment. Wait until it has ended, and run this again."
)
UPGRADE, DOWNGRADE = "def upgrade() -> None:\n", "\n\n\ndef downgrade() -> None:\n"


@contextmanager
def exclusive_migrations(root: Path) -> Iterator[None]:
    """Hold a lock on the folder of the migrations. The system releases it when the process ends.

    Stop with one line if another process holds it, or if two migrations are the newest.
    """
    folder = os.open(root / "alembic", os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(LOCKED) from None
        require_one_head(root)
        yield
    finally:
        os.close(folder)


def require_one_head(root: Path) -> None:
    """Stop with one line if two migrations are the newest: a new one could follow only one."""
    scripts = ScriptDirectory.from_config(Config(toml_file=root / "pyproject.toml"))
    heads = sorted(scripts.get_heads())
    if len(heads) > 1:
        raise SystemExit(
            f"The migrations {' and '.join(heads)} are both the newest, as after a merge of two"
            ' branches. Join them first: .venv/bin/alembic merge -m "Merge the branches" heads'
        )


@contextmanager
def new_database(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path and the URL of a database with all migrations.

    It is a new one, so that the state of the user's own does not matter.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "project.db"
        url = f"sqlite+aiosqlite:///{path}"
        run(root, url, "alembic", "upgrade", "head")
        yield path, url


def write_migration(root: Path, message: str) -> Path:
    """Write the migration from a database with all migrations to the models."""
    with TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/project.db"
        return generate_migration(root, url, "python", "-m", "app.project.revision", message)


def write_drop_migration(root: Path, message: str, tables: Collection[sa.Table]) -> Path:
    """Write the migration that drops tables, while their models are still there.

    Its downgrade creates the tables as the models say. Written from the database, it would have to
    guess their types: SQLite stores a price as a number.
    """
    objects = objects_of(read_statements(root), tables)
    with new_database(root) as (path, url):
        if run(root, url, "alembic", "check", check=False):
            raise SystemExit(
                "The models have changed without a migration. Run `make migration` first."
            )
        with closing(sqlite3.connect(path)) as connection:
            for table in tables:
                connection.execute(f'DROP TABLE "{table.name}"')
        migration = autogenerate(root, url, message)
        text = reversed_migration(migration.read_text(), drops(objects), creations(objects))
        migration.write_text(text)
        run(root, url, "ruff", "format", *RUFF, str(migration))
    return migration


def autogenerate(root: Path, database_url: str, message: str) -> Path:
    return generate_migration(
        root, database_url, "alembic", "revision", "--autogenerate", "-m", message
    )


def generate_migration(root: Path, database_url: str, program: str, *arguments: str) -> Path:
    """Return the migration that a program writes, formatted."""
    versions = root / "alembic/versions"
    before = {*versions.glob("*.py")}
    run(root, database_url, program, *arguments)
    (migration,) = {*versions.glob("*.py")} - before
    run(root, database_url, "ruff", "check", "--fix", *RUFF, str(migration))
    run(root, database_url, "ruff", "format", *RUFF, str(migration))
    return migration


def reversed_migration(
    text: str, of_upgrade: Sequence[str] = (), of_downgrade: Sequence[str] = ()
) -> str:
    """Return a migration whose upgrade is the downgrade of another one, and the reverse.

    Each ends with statements that only PostgreSQL runs.
    """
    head, _, body = text.partition(UPGRADE)
    upgrade, _, downgrade = body.rstrip("\n").partition(DOWNGRADE)
    upgrade, downgrade = downgrade + on_postgres(of_upgrade), upgrade + on_postgres(of_downgrade)
    return f"{head}{UPGRADE}{upgrade}{DOWNGRADE}{downgrade}\n"


def on_postgres(statements: Sequence[str]) -> str:
    if not statements:
        return ""
    executions = "".join(f"\n        op.execute({source_of(each)})" for each in statements)
    return f'\n    if op.get_context().dialect.name == "postgresql":{executions}'


def source_of(statement: str) -> str:
    """Return a statement as Python code, one string for each line."""
    lines = [repr(line) for line in BIND.sub(r"\\:", statement).splitlines(keepends=True)]
    return "".join(f"\n{line}{LONG if len(line) > LONGEST else ''}" for line in lines) + "\n"
