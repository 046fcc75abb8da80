"""docs/limits.md against the settings and the constants that it names."""

import ast
import re
from datetime import timedelta
from typing import NamedTuple

from limits import RateLimitItem

from app.core.config import Settings
from tests.databases import ROOT
from tests.slices import needs

PAGE = ROOT / "docs/limits.md"
ROW = re.compile(
    r"^\| [^|]+ \| ([^|]+) \| `([A-Z_]+)`(?: in `([\w/]+)\.py`)? \| [^|]+ \|$", re.MULTILINE
)


class Row(NamedTuple):
    limit: str
    name: str
    file: str


def rows() -> list[Row]:
    return [Row(*found) for found in ROW.findall(PAGE.read_text())]


def value_of(row: Row) -> object:
    """Return the default of a setting, or the value of a constant."""
    return constant(row) if row.file else Settings.model_fields[row.name.lower()].default


def constant(row: Row) -> object:
    """Return the value in the source: the tests change some constants when they start."""
    for statement in ast.parse((ROOT / f"{row.file}.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == row.name:
            return eval(ast.unparse(statement.value), {"timedelta": timedelta})
    raise LookupError(f"{row.file} has no {row.name}")


def shown(value: object) -> str:
    """Return how the page begins a limit of this value."""
    if value is None:
        return "none"
    if isinstance(value, RateLimitItem):
        return f"{value.amount:,}"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    assert isinstance(value, int | float)
    return f"{value:,.10g}"


def test_limits_page_has_a_row_for_each_line_of_its_tables() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!What)", line)]
    assert len(rows()) == len(lines) > 30


@needs("webhooks")
def test_names_in_limits_page_exist_and_have_these_values() -> None:
    wrong = [row for row in rows() if row.limit.split()[0] != shown(value_of(row))]
    assert wrong == []
