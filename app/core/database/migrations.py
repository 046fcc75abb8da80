"""What the code knows of its migrations. `alembic/env.py` runs them."""

import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.database.unit_of_work import Database

if TYPE_CHECKING:
    from alembic.config import Config

ALEMBIC_INI = Path(__file__).parents[3] / "alembic.ini"


def alembic_config() -> "Config":
    from alembic.config import Config

    return Config(ALEMBIC_INI, stdout=sys.stdout)  # its own is that of when it was imported


class Migrations:
    def __init__(self) -> None:
        from alembic.script import ScriptDirectory  # a server starts faster without it

        script = ScriptDirectory.from_config(alembic_config())
        self._heads = set(script.get_heads())
        self._known_revisions = {revision.revision for revision in script.walk_revisions()}

    async def is_behind(self, database: Database) -> bool:
        """Whether a migration is missing. A schema that is ahead will do: a roll-out under way."""
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
    """Reads the folder once: it does not change under a running server."""
    return Migrations()
