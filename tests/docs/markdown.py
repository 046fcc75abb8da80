"""Parse the Markdown files of the project."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.databases import ROOT

FOLDERS = ("", "docs", "bench", ".github")
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its info string, such as `sh skip`, and its text."""

    info: Sequence[str]
    text: str


def pages() -> list[Path]:
    return [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    for fence in FENCE.finditer(page.read_text()):
        yield Block(fence["info"].split(), fence["text"])


def relative_links(page: Path) -> list[str]:
    prose = CODE.sub("", FENCE.sub("", page.read_text()))
    links = [first or second for first, second in LINK.findall(prose)]
    return [link for link in links if not re.match(r"[a-z]+:", link)]


def headings(page: Path) -> list[tuple[str, str]]:
    return HEADING.findall(FENCE.sub("", page.read_text()))


def outline(page: Path) -> list[int]:
    """Return the levels of the headings in order."""
    return [len(marks) for marks, _ in headings(page)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = [title for _, title in headings(page)]
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}
