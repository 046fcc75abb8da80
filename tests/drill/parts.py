"""What goes with each part that a project may not want: see docs/adding-a-resource.md."""

from collections.abc import Mapping, Sequence

from tests.slices import slices, with_dependents

# What shows or measures the items: without them there is nothing to show.
WITH_ITEMS = [
    "bench",
    "tests/bench",
    "tests/e2e/screenshots.py",
    "tests/e2e/test_journey.py",
    "tests/e2e/test_every_page.py",
]
OPTIONAL: Mapping[str, Sequence[str]] = {
    "admin": [
        "app/admin.py",
        "app/web/admin_site",
        "app/*/admin.py",
        "app/features/*/admin.py",
        "tests/admin.py",
        "tests/**/test_admin*.py",
    ],
    "live": ["app/features/*/live.py", "tests/features/*/test_live*.py"],
    "fastpath": ["app/core/fastpath", "tests/core/fastpath"],
}


def parts() -> list[str]:
    return [*slices(), *OPTIONAL]


def paths_of(part: str) -> list[str]:
    """Return the paths to delete, as patterns."""
    if part in OPTIONAL:
        return [*OPTIONAL[part]]
    gone = with_dependents(part)
    paths = [f"{folder}/features/{name}" for name in gone for folder in ("app", "tests")]
    return paths + (WITH_ITEMS if "items" in gone else [])
