"""Copy the project, for tests that change its files."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.databases import ROOT

# What new projects keep of the template.
NEW_PROJECTS = {
    "new-bare": [],
    "new-api": [
        *("items", "orders", "attachments", "graphql", "webhooks", "passkeys"),
        *("frontend", "live", "fastpath", "project"),
    ],
}


def copy_to(folder: Path) -> None:
    """Copy the project, without what git ignores."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    ignore = shutil.ignore_patterns(".git", *ignored)
    shutil.copytree(ROOT, folder, ignore=ignore, symlinks=True, dirs_exist_ok=True)


def copier_command(template: Path, folder: Path, parts: Sequence[str]) -> list[str]:
    """Return the command that makes a project of a template, and keeps the parts."""
    options = ["--trust", "--defaults", "--quiet", "--data=name=Acme Shop"]
    answer = f"--data=parts={json.dumps([*parts])}"
    return ["copier", "copy", *options, answer, str(template), str(folder)]
