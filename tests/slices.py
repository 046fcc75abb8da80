"""Find the slices of this checkout, and deselect the tests of deleted slices."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FEATURES = ROOT / "app/features"


def needs(*slices: str) -> pytest.MarkDecorator:
    """Mark a test that needs slices, or files below app/features or app."""
    return pytest.mark.needs(*slices)


def is_missing(item: pytest.Item) -> bool:
    names = {name for mark in item.iter_markers("needs") for name in mark.args}
    return not all(map(exists, names))


def exists(name: str) -> bool:
    """Return whether a slice or a file exists, such as "items" or "admin.py"."""
    files = (FEATURES / name / "__init__.py", FEATURES / name, ROOT / "app" / name)
    return any(file.is_file() for file in files)


def slices(root: Path = ROOT) -> list[str]:
    return sorted(file.parent.name for file in root.glob("app/features/*/__init__.py"))


def needs_of(slice_: str, root: Path = ROOT) -> tuple[str, ...]:
    """Return the slices that a slice declares to use."""
    file = root / "app/features" / slice_ / "__init__.py"
    for node in ast.parse(file.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="NEEDS")], value=value):
                declared: tuple[str, ...] = ast.literal_eval(value)
                return declared
    return ()
