"""`python -m tests.drill [PART ...]`: delete a part from a copy, then check and test the rest.

Each part is deleted from a fresh copy of what git knows. Where tables go, a migration is made, as
docs/adding-a-resource.md says. The rest has to pass `make check`, and its tests on SQLite. The part
`copy` copies the items to a resource of its own instead.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.drill.parts import parts, paths_of

ROOT = Path(__file__).parents[2]
COPY = "copy"
MAKE = ("make", "--silent", "--old-file=install")
PYTEST = (".venv/bin/pytest", "-q", "-n3", "-m", "not slow")


def copy_to(folder: Path) -> None:
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def delete(part: str, folder: Path) -> None:
    for pattern in paths_of(part):
        found = [*folder.glob(pattern)]
        if not found:
            raise SystemExit(f"{part}: there is no {pattern}")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(folder: Path, *command: str) -> bool:
    """Run a command in the copy, with the virtual environment of this checkout."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TEST_")
    }
    environment |= {
        "PYTHONPATH": str(folder),
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/drill.db",
    }
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0


def copy_items(folder: Path) -> bool:
    """Copy the example as the documentation says, and run the tests that were copied along."""
    return (
        run(folder, "sh", "tests/drill/copy_items.sh", "gadget")
        and run(folder, *MAKE, "format")
        and run(folder, *MAKE, "migration", "m=gadgets")
        and run(folder, *MAKE, "check")
        and run(folder, *PYTEST, "tests/features/gadgets")
    )


def drill(part: str) -> bool:
    with TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        folder.mkdir()
        copy_to(folder)
        if part == COPY:
            return copy_items(folder)
        delete(part, folder)
        if not run(folder, ".venv/bin/app", "db", "check"):  # tables have gone
            run(folder, *MAKE, "migration", f"m=remove {part}")
        return run(folder, *MAKE, "check") and run(folder, *PYTEST, "--ignore=tests/e2e")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or [COPY, *parts()]:
        started = time.monotonic()
        print(f"\n== {chosen}", flush=True)
        if not drill(chosen):
            raise SystemExit(f"== {chosen}: failed")
        print(f"== {chosen}: passed in {time.monotonic() - started:.0f} s", flush=True)
