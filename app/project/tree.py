"""A check that git can restore the files of the project."""

import subprocess
from pathlib import Path

import typer


def require_clean_tree(root: Path, yes: bool) -> None:
    """Stop unless git can undo all that follows, or the user does without it."""
    changes = uncommitted_changes(root)
    if changes is None and not yes:
        typer.confirm("Git does not have these files, and cannot undo this. Continue?", abort=True)
    elif changes:
        raise SystemExit("There are uncommitted changes: commit them or stash them first.")


def uncommitted_changes(root: Path) -> str | None:
    """Return what git reports about the project; None if it is not in a repository."""
    command = ("git", "status", "--porcelain", "--", ".")
    try:
        result = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    except FileNotFoundError:  # Git is not installed.
        return None
    return None if result.returncode else result.stdout
