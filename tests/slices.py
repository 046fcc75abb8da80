"""The slices that a checkout has: tests of others are left out, so that a folder can be deleted."""

from importlib import import_module
from pathlib import Path

import pytest

FEATURES = Path(__file__).parents[1] / "app/features"


def needs(*slices: str) -> pytest.MarkDecorator:
    """Mark a test that uses slices of app/features, or files of theirs, as an example."""
    return pytest.mark.needs(*slices)


def is_missing(item: pytest.Item) -> bool:
    names = {name for mark in item.iter_markers("needs") for name in mark.args}
    paths = [FEATURES / name for name in names]
    return not all((path / "__init__.py").exists() or path.is_file() for path in paths)


def slices() -> list[str]:
    return sorted(folder.parent.name for folder in FEATURES.glob("*/__init__.py"))


def needs_of(slice_: str) -> tuple[str, ...]:
    """Return the slices that a slice declares to use."""
    needed: tuple[str, ...] = getattr(import_module(f"app.features.{slice_}"), "NEEDS", ())
    return needed


def with_dependents(slice_: str) -> list[str]:
    """Return the slice and all that use it: what goes when it is deleted."""
    found = [slice_]
    for other in slices():
        if other not in found and set(needs_of(other)) & set(found):
            found += with_dependents(other)
    return sorted(set(found))
