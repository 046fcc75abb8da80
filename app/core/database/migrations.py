"""Alembic's configuration, and the check whether the schema is behind the code.

`alembic/env.py` runs the migrations.
"""

import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.database.unit_of_work import Database

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def alembic_config() -> "Config":
    from alembic.config import Config

    # Alembic's default is the standard output at its import, which a test may have replaced since.
    return Config(toml_file=PYPROJECT, stdout=sys.stdout)


def run_alembic(command: Callable[..., object], *arguments: Any) -> None:
    """Run a command of Alembic. What it refuses is one line, and not a traceback."""
    from alembic.util import CommandError

    try:
        command(alembic_config(), *arguments)
    except CommandError as error:
        raise SystemExit(str(error)) from None


def require_all_migrations(scripts: "ScriptDirectory") -> None:
    """Refuse a folder in which a migration follows one that is missing.

    Alembic warns of it, and then fails with a KeyError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            scripts.get_heads()
        except UserWarning as warning:
            raise SystemExit(str(warning)) from None


class Migrations:
    """The revisions of the migrations folder."""

    def __init__(self) -> None:
        from alembic.script import ScriptDirectory  # A server starts faster without this import.

        script = ScriptDirectory.from_config(alembic_config())
        self._heads = set(script.get_heads())
        self._known_revisions = {revision.revision for revision in script.walk_revisions()}

    async def is_behind(self, database: Database) -> bool:
        """Return whether the schema lacks a migration.

        A schema that is ahead of the code is fine: a newer version is being rolled out.
        """
        async with database.reading() as session:
            try:
                applied = set(
                    await session.scalars(text("SELECT version_num FROM alembic_version"))
                )
            except DBAPIError as error:
                if not _is_missing_table(error):
                    raise
                return True
        return applied != self._heads and applied <= self._known_revisions


def _is_missing_table(error: DBAPIError) -> bool:
    cause = error.orig and error.orig.__cause__
    return isinstance(cause, asyncpg.UndefinedTableError) or "no such table" in str(error.orig)


@lru_cache
def get_migrations() -> Migrations:
    """Return the migrations, read once, since the folder does not change while a server runs."""
    return Migrations()
