"""The parts that a project may not want, and the files of each: see docs/adding-a-resource.md."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from app.project.resource import camel

# What shows or measures the items: without them there is nothing to show.
WITH_ITEMS = [
    "bench",
    "tests/bench",
    "examples/react",
    "tests/e2e/test_frontend.py",
    "tests/e2e/screenshots.py",
    "tests/e2e/gallery.py",
    "tests/e2e/test_gallery.py",
    "tests/e2e/test_journey.py",
    "tests/e2e/test_every_page.py",
    "tests/e2e/test_list_page.py",
]
# The parts that need an optional part: they are removed with it.
NEEDED_BY: Mapping[str, Sequence[str]] = {"pages": ["admin"]}
OPTIONAL: Mapping[str, Sequence[str]] = {
    "admin": [
        "app/admin.py",
        "app/web/admin_site",
        "app/web/static/admin.css",
        "app/*/admin.py",
        "app/features/*/admin.py",
        "tests/admin.py",
        "tests/**/test_admin*.py",
    ],
    "pages": [
        "app/pages.py",
        "app/web",
        "app/accounts/pages",
        "app/accounts/templates/*.html",
        "app/features/*/pages.py",
        "app/features/*/pages",
        "app/features/*/templates/*.html",
        "app/features/*/static",
        "app/features/lab/dependencies.py",
        "tests/web",
        "tests/**/test_*page*.py",
        "tests/**/pages.py",
        "tests/accounts/test_browser_sessions.py",
        "tests/e2e/screenshots.py",
        "tests/e2e/gallery.py",
        "tests/e2e/test_gallery.py",
        "tests/e2e/test_journey.py",
    ],
    "frontend": ["app/frontend.py", "examples/react", "tests/**/test_frontend*.py"],
    "live": ["app/features/*/live.py", "tests/features/*/test_live*.py"],
    "fastpath": ["app/core/fastpath", "tests/core/fastpath"],
    "project": ["app/project", "tests/project"],
}


def require_parts(names: Sequence[str], root: Path) -> None:
    """Stop with one line that names the parts, unless all of these are among them."""
    for name in names:
        if name not in parts(root):
            raise SystemExit(f"There is no part {name!r}. The parts: {', '.join(parts(root))}.")


def features_of_resources(names: Sequence[str], root: Path) -> list[str]:
    """Return the features of resources, which are named in the singular, as `app new` does."""
    if not names:
        raise SystemExit("Name the resource: app remove resource invoice")
    return [feature_of_resource(name, root) for name in names]


def feature_of_resource(name: str, root: Path) -> str:
    for feature in features(root):
        file = root / "app/features" / feature / "models.py"
        if file.exists() and model_of(feature, file) == camel(name):
            return feature
    raise SystemExit(f"There is no resource {name!r}. The parts: {', '.join(parts(root))}.")


def model_of(feature: str, file: Path) -> str | None:
    """Return the name of the model whose table is called as the feature."""
    table = rf'^class (\w+)\(.*\):\n(?:(?!class ).*\n)*?    __tablename__ = "{feature}"$'
    match = re.search(table, file.read_text(), re.MULTILINE)
    return match and match[1]


def parts(root: Path) -> list[str]:
    """Return the features, and the optional parts that are still there."""
    return [*features(root), *(name for name in OPTIONAL if files_of(name, root))]


def files_of(part: str, root: Path) -> list[Path]:
    return [path for pattern in patterns_of(part, root) for path in sorted(root.glob(pattern))]


def patterns_of(part: str, root: Path) -> Sequence[str]:
    if part in OPTIONAL:
        names = (part, *removed_with(part, root))
        return [pattern for name in names for pattern in OPTIONAL[name]]
    gone = with_dependents(part, root)
    paths = [f"{folder}/features/{name}" for name in gone for folder in ("app", "tests")]
    return paths + (WITH_ITEMS if "items" in gone else [])


def removed_with(part: str, root: Path) -> list[str]:
    """Return the other parts that are removed with a part, since they need it."""
    if part in OPTIONAL:
        return [each for each in NEEDED_BY.get(part, ()) if files_of(each, root)]
    return [each for each in with_dependents(part, root) if each != part]


def with_dependents(feature: str, root: Path) -> list[str]:
    """Return the feature and all that need it, directly or not."""
    users = [other for other in features(root) if feature in needs_of(other)]
    return sorted({feature}.union(*(with_dependents(user, root) for user in users)))


def features(root: Path) -> list[str]:
    return sorted(file.parent.name for file in root.glob("app/features/*/__init__.py"))


def needs_of(feature: str) -> Sequence[str]:
    """Return the features that a feature declares to use."""
    needs: Sequence[str] = getattr(import_module(f"app.features.{feature}"), "NEEDS", ())
    return needs
