"""Migrations that Alembic writes from the models, as `make migration` does."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PROGRAMS = Path(sys.executable).parent


def run(root: Path, database_url: str, program: str, *arguments: str, check: bool = True) -> int:
    """Run a program of the virtual environment in a new process, which has the models of now."""
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=root,
        env=os.environ | {"DATABASE_URL": database_url, "PYTHONPATH": str(root)},
        check=check,
        capture_output=True,
        text=True,
    ).returncode


def write_migration(root: Path, message: str) -> list[Path]:
    """Write the migration that a database with all migrations lacks, and return its path, if any.

    The database is a new one, so that the state of the user's own does not matter.
    """
    versions = root / "alembic/versions"
    before = {*versions.glob("*.py")}
    with TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/project.db"
        run(root, url, "alembic", "upgrade", "head")
        if run(root, url, "alembic", "check", check=False) == 0:
            return []
        run(root, url, "alembic", "revision", "--autogenerate", "-m", message)
    run(root, url, "ruff", "check", "--fix", "--quiet", "--no-respect-gitignore", "alembic")
    run(root, url, "ruff", "format", "--quiet", "--no-respect-gitignore", "alembic")
    return sorted({*versions.glob("*.py")} - before)
