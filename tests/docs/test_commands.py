"""Tests of the commands and paths in the documentation, and of the pre-commit hooks."""

import re
from pathlib import Path

import pytest
import typer

from app.cli import cli
from tests.databases import ROOT
from tests.docs.markdown import pages

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
# A command is at the start of code, after `VARIABLE=value` or after `&&`.
STARTS = r"(?:^|`|&& )(?:[A-Z_]+=\S+ )*"
MAKE = re.compile(rf"{STARTS}make ([a-z-]+)", re.MULTILINE)
APP = re.compile(rf"{STARTS}(?:\.venv/bin/)?app ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.MULTILINE)
# In AGENTS.md, all paths are relative to the root.
PATHS = re.compile(
    r"`((?:app|tests|docs|alembic|bench|requirements)/[\w./-]*|[\w.-]*[A-Z]\w*\.md)`"
)
# They can be deleted, and the last is the reader's.
EXAMPLES = {"items", "lab", "new", "rename", "remove", "gadgets"}


def unknown_commands(text: str) -> list[str]:
    """Return the make targets and the `app` commands in a text that do not exist."""
    root = typer.main.get_group(cli).commands
    unknown = [f"make {target}" for target in MAKE.findall(text) if target not in TARGETS]
    for name, subcommand in APP.findall(text):
        command = root.get(name)
        commands = getattr(command, "commands", {})
        if name in EXAMPLES and command is None:
            continue
        if command is None or (commands and subcommand not in {*commands, ""}):
            unknown.append(f"app {name} {subcommand}".strip())
    return unknown


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_exist(page: Path) -> None:
    assert unknown_commands(page.read_text()) == []


def test_unknown_command_is_reported() -> None:
    text = "Run `make check`, `make none` or `PORT=1 make gone`.\n.venv/bin/app db gone\napp none"
    assert unknown_commands(text) == ["make none", "make gone", "app db gone", "app none"]


def test_paths_in_agents_file_exist() -> None:
    paths = PATHS.findall((ROOT / "AGENTS.md").read_text())
    assert len(paths) > 10
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert missing <= {"bench/results"}  # `app rename` deletes the template's.


def test_pre_commit_hooks_run_commands_of_make_check() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    entries = re.findall(r"entry: (.+?)(?: --force-exclude)?$", config, re.MULTILINE)
    *programs, last = [entry.replace(".venv/bin/", "$(BIN)/") for entry in entries]
    recipe = MAKEFILE.partition("\ncheck:")[2].partition("\n\n")[0]
    assert len(programs) == 4
    assert [program for program in programs if f"\t{program}" not in recipe] == []
    assert last == "make check"
