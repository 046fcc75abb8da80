"""Delete the files of parts."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from app.project.parts import files_of, removed_with


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def delete_parts(parts: Sequence[str], root: Path, template: Path | None = None) -> list[str]:
    """Delete the files of the parts and return a line for each file or folder.

    With a template, these are the files that it has, and not those that the project has added.
    """
    source = template or root
    files = {path for part in parts for path in files_of(part, source)}
    paths = sorted(path.relative_to(source) for path in files)
    for path in paths:
        if (root / path).exists():  # Not in a folder that was deleted before.
            delete(root / path)
    return [f"deleted {path}" for path in paths]


def lines_of_dependents(parts: Sequence[str], root: Path) -> list[str]:
    """Return a line for each other part that is removed with these."""
    return [
        f"removed {other} too, which needs {part}"
        for part in parts
        for other in removed_with(part, root)
        if other not in parts
    ]
