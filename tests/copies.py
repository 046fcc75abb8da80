"""Copy the project, for tests that change its files."""

import shutil
from pathlib import Path

from tests.databases import ROOT


def copy_to(folder: Path) -> None:
    """Copy the project, without what git ignores."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    ignore = shutil.ignore_patterns(".git", *ignored)
    shutil.copytree(ROOT, folder, ignore=ignore, symlinks=True, dirs_exist_ok=True)
