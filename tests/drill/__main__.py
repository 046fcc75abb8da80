"""`python -m tests.drill [PART ...]`: delete a part from a copy, then check and test the rest.

`app remove` deletes each part from a fresh copy, and generates a migration if tables are removed.
The rest must pass `make check`, and its tests on SQLite, without those in a browser. The part
`copy` copies the items to a new resource instead, and the parts `new-...` are new projects, which
Copier makes of the copy.
"""

import os
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.copies import NEW_PROJECTS, copier_command, copy_to
from tests.databases import ROOT

COPY = "copy"
# Of these, the commands `app new`, `app remove` and `app rename` take notice.
TESTED_WITH_COMMANDS = ("items", "pages", "admin", "new-api")
MAKE = ("make", "--silent", "--old-file=install")
PYTEST = (".venv/bin/pytest", "-q", "-n3", "-m", "not slow")


def parts() -> list[str]:
    """Return the parts that `app remove` knows, if the command exists, and the new projects."""
    if find_spec("app.project") is None:
        return []
    known: list[str] = import_module("app.project.parts").parts(ROOT)
    return [*known, *(NEW_PROJECTS if (ROOT / "copier.yml").exists() else [])]


def run(folder: Path, *command: str) -> bool:
    """Run a command in the copy, with the virtual environment of this checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TEST_")
    }
    environment |= {
        "PYTHONPATH": str(folder),
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/drill.db",
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),  # Few types differ.
    }
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0


def copy_items(folder: Path) -> bool:
    """Copy the example as the documentation describes, and run the copied tests."""
    return (
        run(folder, "sh", "tests/drill/copy_items.sh", "gadget")
        and run(folder, *MAKE, "format")
        and run(folder, *MAKE, "migration", "m=gadgets")
        and run(folder, *MAKE, "check")
        and run(folder, *PYTEST, "tests/features/gadgets")
    )


def drill(part: str) -> bool:
    with TemporaryDirectory() as name:
        folder, project = Path(name) / "copy", Path(name) / "acme-shop"
        copy_to(folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        if part == COPY:
            return copy_items(folder)
        if part in NEW_PROJECTS:
            program, *arguments = copier_command(folder, project, NEW_PROJECTS[part])
            if not run(folder, f".venv/bin/{program}", *arguments):
                return False
            (project / ".venv").symlink_to(ROOT / ".venv")
            return passes_checks(project, part)
        return run(folder, ".venv/bin/app", "remove", part, "--yes") and passes_checks(folder, part)


def passes_checks(folder: Path, part: str) -> bool:
    ignored = ["--ignore=tests/e2e"]
    if part not in TESTED_WITH_COMMANDS:
        ignored.append("--ignore=tests/project")
    return run(folder, *MAKE, "check") and run(folder, *PYTEST, *ignored)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or [COPY, *parts()]:
        started = time.monotonic()
        print(f"\n== {chosen}", flush=True)
        if not drill(chosen):
            raise SystemExit(f"== {chosen}: failed")
        print(f"== {chosen}: passed in {time.monotonic() - started:.0f} s", flush=True)
