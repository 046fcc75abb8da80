"""The history of migrations without the tables of parts that a new project leaves out.

A migration of the template changes the tables of one feature, or of none. So a new project, which
has no database yet, can leave whole migrations out: the next one follows the one before.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from app.project.parts import removed_with

VERSIONS = "alembic/versions"
REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)
FOLLOWS = re.compile(r'^down_revision = (?:"(?P<revision>\w+)"|None)$', re.MULTILINE)
TABLE = re.compile(r'^    __tablename__ = "(\w+)"$', re.MULTILINE)


def delete_migrations(parts: Sequence[str], root: Path, template: Path) -> None:
    """Delete the template's migrations of the tables that go with the parts, and close the gaps."""
    tables = tables_without(parts, template)
    files = [root / path.relative_to(template) for path in migrations(template)]
    texts = {file: file.read_text() for file in files}
    removed = {file for file, text in texts.items() if names_table(text, tables)}
    before = {revision_of(texts[file]): follows(texts[file]) for file in removed}
    for file, text in texts.items():
        if file in removed:
            file.unlink()
        elif follows(text) in before:
            file.write_text(FOLLOWS.sub(line_of(first_kept(follows(text), before)), text))


def migrations(root: Path) -> list[Path]:
    return sorted((root / VERSIONS).glob("*.py"))


def tables_without(parts: Sequence[str], root: Path) -> set[str]:
    """Return the tables that have no model without the parts and what needs them."""
    removed = set[str]()
    for part in parts:
        removed |= {part, *removed_with(part, root)}
    folders = [root / "app/features" / name for name in removed]
    gone, kept = set[str](), set[str]()
    for file in (root / "app").rglob("*.py"):
        is_removed = any(file.is_relative_to(folder) for folder in folders)
        (gone if is_removed else kept).update(TABLE.findall(file.read_text()))
    return gone - kept  # The lab maps tables of other slices.


def names_table(text: str, tables: Collection[str]) -> bool:
    return any(f'"{table}"' in text for table in tables)


def revision_of(text: str) -> str:
    match = REVISION.search(text)
    assert match  # noqa: S101 - Alembic writes it.
    return match[1]


def follows(text: str) -> str | None:
    match = FOLLOWS.search(text)
    return match and match["revision"]


def first_kept(revision: str | None, before: Mapping[str, str | None]) -> str | None:
    while revision is not None and revision in before:
        revision = before[revision]
    return revision


def line_of(revision: str | None) -> str:
    return f'down_revision = "{revision}"' if revision else "down_revision = None"
