"""`app remove`: write the migration that drops the tables of parts, then delete their files."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from app.core.database.models import Base
from app.discovery import FEATURES, discover
from app.project.deletion import delete_parts, lines_of_dependents
from app.project.migration import exclusive_migrations, write_drop_migration
from app.project.parts import features, with_dependents


def remove(parts: Sequence[str], root: Path) -> list[str]:
    """Delete the parts and return a line for each file or folder that has changed."""
    lines = lines_of_dependents(parts, root)
    created = []
    if tables := tables_of(parts, root):
        try:
            with exclusive_migrations(root):
                migration = write_drop_migration(root, f"remove {' '.join(parts)}", tables)
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                f"{error.stderr}\nNothing was deleted: the migration could not be written."
            ) from None
        created.append(f"created {migration.relative_to(root)}")
    return [*lines, *delete_parts(parts, root), *created]


def tables_of(parts: Sequence[str], root: Path) -> list[str]:
    """Return the tables of features and of all that need them."""
    removed = [part for part in parts if part in features(root)]
    slices = {f"{FEATURES}.{name}" for part in removed for name in with_dependents(part, root)}
    list(discover("models"))
    return [
        str(mapper.local_table.description)
        for mapper in Base.registry.mappers
        if mapper.class_.__module__.removesuffix(".models") in slices
    ]
