"""`app remove`: write the migration that drops the tables of parts, then delete their files."""

import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import sqlalchemy as sa

from app.core.database.models import Base
from app.discovery import FEATURES, discover
from app.project.deletion import delete_parts, lines_of_dependents
from app.project.mentions import dead_paths
from app.project.migration import exclusive_migrations, write_drop_migration
from app.project.parts import features, files_of, with_dependents


def remove(parts: Sequence[str], root: Path) -> list[str]:
    """Delete the parts and return a line for each file or folder that has changed.

    Lines of documents that still name what was deleted follow.
    """
    lines = lines_of_dependents(parts, root)
    files = [path for part in parts for path in files_of(part, root)]
    created = []
    removed = slices_of(parts, root)
    if tables := tables_of(removed):
        try:
            with exclusive_migrations(root):
                migration = write_drop_migration(root, f"remove {' '.join(parts)}", tables)
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                f"{error.stderr}\nNothing was deleted: the migration could not be written."
            ) from None
        created.append(f"created {migration.relative_to(root)}")
    lines += [*delete_parts(parts, root), *created]
    return [*lines, *dead_paths(files, root)]


def slices_of(parts: Sequence[str], root: Path) -> set[str]:
    """Return the features among the parts, and all that need them."""
    removed = [part for part in parts if part in features(root)]
    return {f"{FEATURES}.{name}" for part in removed for name in with_dependents(part, root)}


def tables_of(slices: Collection[str]) -> list[sa.Table]:
    list(discover("models"))
    return [
        mapper.local_table
        for mapper in Base.registry.mappers
        if mapper.class_.__module__.removesuffix(".models") in slices
        and isinstance(mapper.local_table, sa.Table)
    ]
