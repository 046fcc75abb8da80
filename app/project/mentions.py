"""The lines of the documents that name files which were deleted."""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

DOCUMENTS = ("*.md", "docs/*.md", "bench/*.md")
HISTORY = "CHANGELOG.md"
PATH = re.compile(r"[\w.-]+(?:/[\w.-]*\w)+")


def dead_paths(deleted: Collection[Path], root: Path) -> Iterator[str]:
    """Yield `FILE:LINE names PATH` for each line with a path, or a link, to what was deleted."""
    pages = (page for pattern in DOCUMENTS for page in sorted(root.glob(pattern)))
    for page in pages:
        lines = [] if page.name == HISTORY else page.read_text().splitlines()
        for number, line in enumerate(lines, start=1):
            dead = [path for path in PATH.findall(line) if is_dead(path, page, deleted, root)]
            if dead:
                yield f"{page.relative_to(root)}:{number} names {', '.join(dict.fromkeys(dead))}"


def is_dead(path: str, page: Path, deleted: Collection[Path], root: Path) -> bool:
    """Return whether a path leads to what was deleted, from the project, `app` or the page."""
    targets = [Path(os.path.normpath(base / path)) for base in (root, root / "app", page.parent)]
    return any(target.is_relative_to(each) for target in targets for each in deleted)
