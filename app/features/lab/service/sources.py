"""Splits the source files of the steps into functions, to show them side by side."""

import ast
import re
from collections.abc import Iterator
from keyword import kwlist
from pathlib import Path
from typing import NamedTuple

from app.features.lab.schemas import STEPS

FOLDER = Path(__file__).parent.parent
CHANGE_MARK = "# changed"
TOKEN = re.compile(rf"""(#.*|"[^"]*"|\b(?:{"|".join(kwlist)})\b)""")


class Line(NamedTuple):
    indent: str
    pieces: list[tuple[str, str]]  # kind (comment, string, keyword or "") and text
    is_changed: bool


class Part(NamedTuple):
    """The source of an operation, or with the name "" the code before or after the operations."""

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
    """Read a step. Its docstring has the title and the description."""
    source = path.read_text()
    title, _, about = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    return Step(name, path.name, title, about, read_parts(source))


def read_parts(source: str) -> list[Part]:
    """Split the source into its operations and the code between them, without the docstring."""
    lines, body = list(mark_changes(source.splitlines())), ast.parse(source).body
    position = body[0].end_lineno or 0  # below the docstring
    parts = [Part("", [])]
    for function in body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.decorator_list:
            start = function.decorator_list[0].lineno - 1
            parts[-1].lines.extend(lines[position:start])
            position = function.end_lineno or start
            parts += [Part(function.name, lines[start:position]), Part("", [])]
    parts[-1].lines.extend(lines[position:])
    return [Part(part.name, lines) for part in parts if (lines := strip_blank_lines(part.lines))]


def mark_changes(lines: list[str]) -> Iterator[Line]:
    """Parse the lines. A line is changed if it, or the comment above it, has the change mark."""
    is_below_mark = False
    for line in lines:
        text = line.lstrip().removesuffix(CHANGE_MARK).rstrip()
        indent = line[: len(line) - len(line.lstrip())]
        pieces = [(kind_of(piece), piece) for piece in TOKEN.split(text) if piece]
        yield Line(indent, pieces, is_below_mark or CHANGE_MARK in line)
        is_below_mark = line.lstrip().startswith(CHANGE_MARK)


def kind_of(piece: str) -> str:
    if not TOKEN.fullmatch(piece):
        return ""
    return {"#": "comment", '"': "string"}.get(piece[0], "keyword")


def strip_blank_lines(lines: list[Line]) -> list[Line]:
    """Return the lines without the blank ones at both ends."""
    filled = [number for number, line in enumerate(lines) if line.pieces]
    return lines[filled[0] : filled[-1] + 1] if filled else []
