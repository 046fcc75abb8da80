"""Test that only main.py refers to the fast path, so that its folder can be deleted."""

from pathlib import Path

from tests.databases import ROOT

NAME = "core.fastpath"


def test_fast_path_is_imported_by_main_only() -> None:
    files = [*(ROOT / "app").rglob("*.py")]
    naming = {file.relative_to(ROOT) for file in files if NAME in file.read_text()}
    outside = {file for file in naming if "fastpath" not in file.parts}
    assert outside == {Path("app/main.py")}
