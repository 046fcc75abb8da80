"""`app remove`: delete the files of parts, then write the migration that drops their tables."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from app.project.parts import files_of, removed_with
from app.project.tree import delete

PROGRAMS = Path(sys.executable).parent


def remove(parts: Sequence[str], root: Path) -> list[str]:
    """Delete the parts and return a line for each file or folder that has changed."""
    others = [
        f"removed {other} too, which needs {part}"
        for part in parts
        for other in removed_with(part, root)
        if other not in parts
    ]
    deleted = sorted({path for part in parts for path in files_of(part, root)})
    for path in deleted:
        if path.exists():  # Not in a folder that was deleted before.
            delete(path)
    lines = [f"deleted {path.relative_to(root)}" for path in deleted]
    return [*others, *lines, *(f"created {path}" for path in write_migration(parts, root))]


def write_migration(parts: Sequence[str], root: Path) -> list[str]:
    """Write the migration that drops the tables without a model, and return its path.

    As `make migration` does, but on a new database, which has the tables of all migrations.
    """
    message = f"remove {' '.join(parts)}"
    versions = root / "alembic/versions"
    before = {*versions.glob("*.py")}
    try:
        with TemporaryDirectory() as folder:
            url = f"sqlite+aiosqlite:///{folder}/project.db"
            run(root, url, "alembic", "upgrade", "head")
            if run(root, url, "alembic", "check", check=False) == 0:
                return []
            run(root, url, "alembic", "revision", "--autogenerate", "-m", message)
        run(root, url, "ruff", "check", "--fix", "--quiet", "alembic")
        run(root, url, "ruff", "format", "--quiet", "alembic")
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"{error.stderr}\nThe files are deleted, but their migration could not be written."
            f' Correct the error above, then run: make migration m="{message}"'
        ) from None
    return sorted(str(path.relative_to(root)) for path in {*versions.glob("*.py")} - before)


def run(root: Path, database_url: str, program: str, *arguments: str, check: bool = True) -> int:
    """Run a program of the virtual environment in a new process, which has the models of now."""
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=root,
        env=os.environ | {"DATABASE_URL": database_url},
        check=check,
        capture_output=True,
        text=True,
    ).returncode
