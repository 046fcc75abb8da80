"""Our own files, cut into their functions to be shown side by side."""

import ast
import re
from collections.abc import Iterator
from keyword import kwlist
from pathlib import Path
from typing import NamedTuple

from app.features.lab.schemas import STEPS

FOLDER = Path(__file__).parent.parent
CHANGED = "# changed"
TOKEN = re.compile(rf"""(#.*|"[^"]*"|\b(?:{"|".join(kwlist)})\b)""")


class Line(NamedTuple):
    indent: str
    pieces: list[tuple[str, str]]  # what it is (comment, string, keyword or nothing), and its text
    is_changed: bool


class Part(NamedTuple):
    """An operation, or with the name "" what comes before them or after."""

    name: str
    lines: list[Line]

    @property
    def changes(self) -> int:
        return sum(line.is_changed for line in self.lines)


class Step(NamedTuple):
    name: str
    file: str
    title: str
    about: str
    parts: list[Part]


def read_steps() -> list[Step]:
    return [read_step(next(FOLDER.glob(f"{step}_*.py")), name) for step, name in STEPS.items()]


def read_functions(path: str) -> dict[str, list[Line]]:
    parts = read_parts((FOLDER / path).read_text())
    return {part.name: part.lines for part in parts if part.name}


def read_step(path: Path, name: str) -> Step:
    """What it is, and what is to be seen, its docstring says."""
    source = path.read_text()
    title, _, about = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    return Step(name, path.name, title, about, read_parts(source))


def read_parts(source: str) -> list[Part]:
    """The first is what comes before the operations, and the last what comes after."""
    lines, body = list(marked(source.splitlines())), ast.parse(source).body
    at = body[0].end_lineno or 0  # below the docstring
    parts = [Part("", [])]
    for function in body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.decorator_list:
            starts = function.decorator_list[0].lineno - 1
            parts[-1].lines.extend(lines[at:starts])
            at = function.end_lineno or starts
            parts += [Part(function.name, lines[starts:at]), Part("", [])]
    parts[-1].lines.extend(lines[at:])
    return [Part(part.name, lines) for part in parts if (lines := stripped(part.lines))]


def marked(lines: list[str]) -> Iterator[Line]:
    """A comment behind a line marks it; one above it marks it too."""
    is_below = False
    for line in lines:
        text = line.lstrip().removesuffix(CHANGED).rstrip()  # it is marked otherwise
        indent = line[: len(line) - len(line.lstrip())]
        pieces = [(kind_of(piece), piece) for piece in TOKEN.split(text) if piece]
        yield Line(indent, pieces, is_below or CHANGED in line)
        is_below = line.lstrip().startswith(CHANGED)


def kind_of(piece: str) -> str:
    if not TOKEN.fullmatch(piece):
        return ""
    return {"#": "comment", '"': "string"}.get(piece[0], "keyword")


def stripped(lines: list[Line]) -> list[Line]:
    """Without the empty ones at both ends."""
    full = [number for number, line in enumerate(lines) if line.pieces]
    return lines[full[0] : full[-1] + 1] if full else []
