"""Tests of the rules for imports; pyproject.toml has the contracts."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.slices import needs, needs_of, slices

FEATURES = "app.features"
PUBLIC_MODULES = ("service", "models", "schemas")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        check=False,
        text=True,
        capture_output=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_import_contracts_are_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


# Each breach: a file, what is added to it, and the contract and the line that report it.
BREACHES = [
    (
        "features/items/utils.py",
        "",
        "Every slice is layered, and has no other files",
        "- app.features.items.utils",
    ),
    (
        "features/items/models.py",
        "from app.features.items import service",
        "Every slice is layered, and has no other files",
        "app.features.items.models -> app.features.items.service",
    ),
    (
        "features/items/service.py",
        "import fastapi",
        "Services are free of HTTP and SQL",
        "app.features.items.service -> fastapi",
    ),
    (
        "features/items/service.py",
        "import sqlalchemy",
        "Services are free of HTTP and SQL",
        "app.features.items.service -> sqlalchemy",
    ),
    (
        "features/items/router.py",
        "import sqlalchemy",
        "Surfaces never touch the database",
        "app.features.items.router -> sqlalchemy",
    ),
    (
        "features/items/admin.py",
        "import sqlalchemy",
        "Surfaces never touch the database",
        "app.features.items.admin -> sqlalchemy",
    ),
    (
        "accounts/pages/account.py",
        "import sqlalchemy",
        "Surfaces never touch the database",
        "app.accounts.pages.account -> sqlalchemy",
    ),
    (
        "core/database/models.py",
        "from app.accounts import models",
        "The application is layered",
        "app.core.database.models -> app.accounts.models",
    ),
    (
        "web/home.py",
        "from app.accounts import models",
        "The application is layered",
        "app.web.home -> app.accounts.models",
    ),
    (
        "accounts/service/auth.py",
        "from app.features.items import models",
        "The application is layered",
        "app.accounts.service.auth -> app.features.items.models",
    ),
]


@needs("items", "admin.py")
def test_broken_contracts_are_reported(copy: Path) -> None:
    for file, line, _, _ in BREACHES:
        with (copy / "app" / file).open("a") as module:
            module.write(f"\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode == 1
    _, *sections = re.split(r"\n(.+)\n-+\n", result.stdout.partition("Broken contracts")[2])
    reports = dict(zip(sections[::2], sections[1::2], strict=True))
    for _, _, contract, reported in BREACHES:
        assert reported in reports[contract], result.stdout


def test_exhaustive_ignores_apply_to_the_lab_only() -> None:
    """The contract cannot restrict its exhaustive_ignores to one slice."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = [name for each in contracts["contracts"] for name in each.get("exhaustive_ignores", [])]
    roots = [ROOT / "app/accounts", ROOT / "app/features"]
    found = [path for name in names for each in roots for path in each.glob(f"**/{name}.py")]
    assert {path.parent.name for path in found} <= {"lab"}


def feature_needs(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the features of a project by name, each with its NEEDS."""
    return {name: needs_of(name, folder) for name in slices(folder)}


def imported_modules(file: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of everything that a file imports."""
    package = file.relative_to(folder).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, each.name) for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                start = package[: len(package) - level + 1] if level else ()
                origin = ".".join([*start, *([module] if module else [])])
                yield from ((node.lineno, f"{origin}.{each.name}") for each in names)


def public_modules_for(file: Path) -> tuple[str, ...]:
    """Return the modules of other features that a file may import.

    What builds services may build those of another feature.
    """
    return (*PUBLIC_MODULES, *(["dependencies"] if file.name == "dependencies.py" else []))


def undeclared_imports(folder: Path) -> list[str]:
    """Return the imports between features that NEEDS does not allow."""
    found = []
    for feature, needed in feature_needs(folder).items():
        for file in sorted((folder / "app/features" / feature).rglob("*.py")):
            for line, name in imported_modules(file, folder):
                _, is_feature, path = name.partition(f"{FEATURES}.")
                other, _, rest = path.partition(".")
                is_public = other in needed and rest.split(".")[0] in public_modules_for(file)
                if is_feature and other != feature and not is_public:
                    found.append(f"{file.relative_to(folder)}:{line} imports {name}")
    return found


def test_features_import_only_the_public_modules_of_features_that_they_need() -> None:
    assert undeclared_imports(ROOT) == []


def test_features_need_each_other_without_cycles() -> None:
    needs = feature_needs(ROOT)
    assert {need for each in needs.values() for need in each} <= needs.keys()
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"These features need each other: {error.args[1]}")


@needs("items", "lab", "orders")
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("orders/service.py", "from app.features.items.repository import ItemRepository"),
        ("orders/service.py", "from app.features.items import repository"),
        ("orders/service.py", "import app.features.items.dependencies"),
        ("orders/models.py", "from ..items.events import ItemEvent"),
        ("orders/models.py", "from app.features.lab.models import Item"),
        ("items/service.py", "from app.features.orders.models import Order"),
        ("items/router.py", "def f(): from app.features.orders import service"),
        ("orders/dependencies.py", "from app.features.lab import dependencies"),
        ("orders/dependencies.py", "from app.features.items import repository"),
    ],
)
def test_undeclared_import_between_features_is_reported(copy: Path, file: str, line: str) -> None:
    path = copy / "app/features" / file
    number = len(path.read_text().splitlines()) + 1
    with path.open("a") as module:
        module.write(f"{line}\n")
    (found,) = undeclared_imports(copy)
    assert found.startswith(f"app/features/{file}:{number} imports app.features.")


def test_test_modules_are_not_imported() -> None:
    """The deletion or renaming of a test must not break others."""
    found = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for folder in ("app", "bench", "tests")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, name in imported_modules(file, ROOT)
        if name.startswith("tests.") and ".test_" in name
    ]
    assert found == []


def test_import_of_the_application_creates_no_file_and_loads_no_metrics(tmp_path: Path) -> None:
    script = (
        "import app.main, pathlib, sys; assert not list(pathlib.Path().iterdir()); "
        "assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={}, check=True)
