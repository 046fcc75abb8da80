"""`python -m tests.drill [PART ...]`: delete a part from a copy, then check and test the rest.

`app remove` deletes each part from a fresh copy, and generates a migration if tables are removed.
The rest must pass `make check`, and its tests on SQLite, without those in a browser: all cases
where much is deleted, the first case of each test otherwise, and without those of the core and of
other features where a feature is deleted that no code names. The part `copy` copies the items
to a new resource instead, and the parts `new-...` are new projects, which Copier makes of the copy.

Each processor works on one part at a time.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.copies import NEW_PROJECTS, copier_command, copy_to
from tests.databases import ROOT

COPY = "copy"
# Much depends on these: all cases are tested, and the commands `app new`, `app remove` and
# `app rename`, which take notice.
TESTED_IN_FULL = ("items", "pages")
# No code names these features: what takes notice is what goes through all of them.
LEAVES = ("attachments", "graphql", "identities", "lab", "orders", "passkeys", "webhooks")
UNCONCERNED = ("tests/core", "tests/faults", "tests/features", "tests/security")
MAKE = ("make", "--silent", "--old-file=install")
PYTEST = (".venv/bin/pytest", "-q", "-m", "not slow")
FIRST_CASES = {"TEST_FIRST_CASES": "true"}


def parts() -> list[str]:
    """Return the parts that `app remove` knows, if the command exists, and the new projects."""
    if find_spec("app.project") is None:
        return []
    known: list[str] = import_module("app.project.parts").parts(ROOT)
    return [*known, *(NEW_PROJECTS if (ROOT / "copier.yml").exists() else [])]


@dataclass
class Drill:
    """The drill of one part, with the files that it keeps until the end."""

    part: str
    folder: Path
    mypy_cache: Path

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def passes(self) -> bool:
        copy, project = self.folder / "copy", self.folder / "acme-shop"
        copy_to(copy)
        link_environment(copy)
        if self.part == COPY:
            return self._copies_items(copy)
        if self.part in NEW_PROJECTS:
            program, *arguments = copier_command(copy, project, NEW_PROJECTS[self.part])
            if not self._run(copy, f".venv/bin/{program}", *arguments):
                return False
            link_environment(project)
            return self._passes_checks(project)
        is_removed = self._run(copy, ".venv/bin/app", "remove", self.part, "--yes")
        return is_removed and self._passes_checks(copy)

    def _copies_items(self, folder: Path) -> bool:
        """Copy the example as the documentation describes, and run the copied tests."""
        return (
            self._run(folder, "sh", "tests/drill/copy_items.sh", "gadget")
            and self._run(folder, *MAKE, "format")
            and self._run(folder, *MAKE, "migration", "m=gadgets")
            and self._run(folder, *MAKE, "check")
            and self._run(folder, *PYTEST, "tests/features/gadgets")
        )

    def _passes_checks(self, folder: Path) -> bool:
        is_tested_in_full = self.part in TESTED_IN_FULL
        ignored = ["--ignore=tests/e2e"]
        if not is_tested_in_full:
            ignored.append("--ignore=tests/project")
        if self.part in LEAVES:
            ignored += [f"--ignore={folder}" for folder in UNCONCERNED]
        cases = {} if is_tested_in_full else FIRST_CASES
        return self._run(folder, *MAKE, "check") and self._run(folder, *PYTEST, *ignored, **cases)

    def _run(self, folder: Path, *command: str, **environment: str) -> bool:
        """Run a command in the copy, with the virtual environment of this checkout."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("TEST_")
        }
        settings = {
            "PYTHONPATH": str(folder),
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/drill.db",
            "MYPY_CACHE_DIR": str(self.mypy_cache),
        }
        with self.output.open("a") as output:
            process = subprocess.run(
                command,
                cwd=folder,
                env=inherited | settings | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return process.returncode == 0


def link_environment(folder: Path) -> None:
    """Give a copy the virtual environment of this checkout, but for what `make check` writes."""
    (folder / ".venv").mkdir()
    for file in (ROOT / ".venv").iterdir():
        if file.name != "lock":
            (folder / ".venv" / file.name).symlink_to(file)


@contextmanager
def mypy_caches(number: int) -> Iterator[SimpleQueue[Path]]:
    """Yield copies of the cache of this checkout: few types differ, and two processes cannot share.

    Each is used by one drill after the other.
    """
    with TemporaryDirectory() as name:
        caches = SimpleQueue[Path]()
        for index in range(number):
            cache = Path(name) / str(index)
            if (ROOT / ".mypy_cache").exists():
                shutil.copytree(ROOT / ".mypy_cache", cache)
            caches.put(cache)
        yield caches


def drill(part: str, caches: SimpleQueue[Path]) -> bool:
    """Drill a part, and print what was printed meanwhile if it fails."""
    started = time.monotonic()
    cache = caches.get()
    with TemporaryDirectory() as name:
        chosen = Drill(part, Path(name), cache)
        is_passed = chosen.passes()
        if not is_passed:
            print(chosen.output.read_text())
    caches.put(cache)
    result = "passed" if is_passed else "failed"
    print(f"== {part}: {result} in {time.monotonic() - started:.0f} s", flush=True)
    return is_passed


def main(chosen: list[str]) -> None:
    number = os.cpu_count() or 1
    with mypy_caches(number) as caches, ThreadPoolExecutor(number) as pool:
        drills = [pool.submit(drill, part, caches) for part in chosen]
        for each in as_completed(drills):
            if not each.result():
                pool.shutdown(cancel_futures=True)
                raise SystemExit("The drill has failed.")


if __name__ == "__main__":
    main(sys.argv[1:] or [COPY, *parts()])
