"""The rules that the folders stand for; pyproject.toml has the contracts."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.slices import needs

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


def test_the_contracts_hold() -> None:
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


@needs("items")
def test_every_breach_is_found(copy: Path) -> None:
    for file, line, _, _ in BREACHES:
        with (copy / "app" / file).open("a") as module:
            module.write(f"\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode == 1
    _, *sections = re.split(r"\n(.+)\n-+\n", result.stdout.partition("Broken contracts")[2])
    reports = dict(zip(sections[::2], sections[1::2], strict=True))
    for _, _, contract, reported in BREACHES:
        assert reported in reports[contract], result.stdout


def test_only_the_lab_has_the_files_of_a_lab() -> None:
    """The contract on each slice's files cannot say for which slice it lets these pass."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = [name for each in contracts["contracts"] for name in each.get("exhaustive_ignores", [])]
    slices = [ROOT / "app/accounts", ROOT / "app/features"]
    found = [path for name in names for each in slices for path in each.glob(f"**/{name}.py")]
    assert {path.parent.name for path in found} <= {"lab"}


def test_importing_the_app_opens_nothing(tmp_path: Path) -> None:
    """No file, no connection: neither a database nor a key."""
    script = "import app.main, pathlib; assert not list(pathlib.Path().iterdir())"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={}, check=True)
