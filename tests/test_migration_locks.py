"""No migration blocks a table for long, or breaks the running code, without saying why it may."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.command import upgrade
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from app.core.database.migrations import PYPROJECT, alembic_config
from tests.databases import ROOT

DANGEROUS = """
ALTER TABLE items ADD COLUMN color text NOT NULL;
CREATE INDEX ix_items_color ON items (color);
ALTER TABLE items ADD CONSTRAINT color_known CHECK (color <> '');
ALTER TABLE items DROP COLUMN description;
"""


def revisions() -> list[Script]:
    return [*reversed([*ScriptDirectory.from_config(alembic_config()).walk_revisions()])]


def sql_of(script: Script) -> str:
    """Return the migration's SQL for PostgreSQL, which is not asked."""
    output = io.StringIO()
    config = Config(toml_file=PYPROJECT, output_buffer=output)
    upgrade(config, f"{script.down_revision or 'base'}:{script.revision}", sql=True)
    return output.getvalue()


def broken_rules(sql: str) -> set[str]:
    command = [str(Path(sys.executable).parent / "squawk"), "--reporter", "json"]
    found = subprocess.run(
        command, input=sql, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert found.returncode in (0, 1), found.stderr
    return {each["rule_name"] for each in json.loads(found.stdout)}


@pytest.mark.parametrize("script", revisions(), ids=lambda script: script.revision)
def test_migration_says_why_it_may_break_a_rule(script: Script) -> None:
    """docs/migrations.md has the ways round each rule, and how to accept one."""
    accepted: dict[str, str] = getattr(script.module, "accepted", {})
    assert broken_rules(sql_of(script)) == accepted.keys()
    assert all(accepted.values())


def test_rules_find_what_is_dangerous() -> None:
    assert broken_rules(DANGEROUS) == {
        "adding-required-field",
        "ban-drop-column",
        "constraint-missing-not-valid",
        "require-concurrent-index-creation",
    }
