"""The settings of whoever runs the tests do not reach them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.config import Settings
from tests.databases import ROOT
from tests.server import serving

WRONG = "DATABASE_POOL_SIZE=0\nPORT=x\n"


def test_exported_settings_and_env_file_do_not_reach_the_tests(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(WRONG)
    script = (
        "import tests.conftest\n"
        "from app.core.config import Settings, get_settings\n"
        "assert get_settings() == Settings.model_construct(environment='test')\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "ENVIRONMENT": "production", "signup_enabled": "false"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


def test_env_file_does_not_reach_a_server(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    with serving(database_url) as client:
        assert client.get("/health/ready").status_code == 200


def test_environment_of_a_test_names_no_other_setting() -> None:
    found = {name.lower() for name in os.environ} & set(Settings.model_fields)
    assert found == {"environment"}
