import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.project import cli
from tests.copies import copy_to
from tests.databases import ROOT

GIT = (
    "git",
    "-c",
    "user.name=Ann",
    "-c",
    "user.email=ann@example.com",
    "-c",
    "init.defaultBranch=main",
)

PROGRAMS = Path(sys.executable).parent

Command = Callable[..., Result]


def run(folder: Path, program: str, *arguments: str, **settings: str) -> str:
    """Run a program of the virtual environment on a copy, and return what it prints."""
    tests = {name: value for name, value in os.environ.items() if name.startswith("TEST_")}
    result = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=folder,
        env={
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "PYTHONPATH": str(folder),
            "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),  # Few types differ.
            **tests,
            **settings,
        },
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output([*GIT, *arguments], cwd=folder, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the project without a git repository."""
    folder = tmp_path / "copy"
    copy_to(folder)
    return folder


@pytest.fixture(scope="session")
def shared_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    copy_to(folder)
    git(folder, "init", "--quiet")
    commit(folder)
    git(folder, "tag", "start")
    return folder


@pytest.fixture
def repository(shared_repository: Path) -> Iterator[Path]:
    """Yield a copy of the project, committed, and undo what the test changes."""
    yield shared_repository
    git(shared_repository, "reset", "--quiet", "--hard", "start")
    git(shared_repository, "clean", "-ffdx", "--quiet")


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change something")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs a command on the files of a folder."""

    def run(folder: Path, *arguments: str, answer: str = "") -> Result:
        monkeypatch.setattr(cli, "ROOT", folder)
        return CliRunner().invoke(cli.cli, arguments, input=answer)

    return run
