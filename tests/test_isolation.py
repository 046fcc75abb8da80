"""The settings of the developer do not reach the tests."""

import os
from pathlib import Path

import pytest

from app.core.config import Settings
from tests.isolation import LEAN_ROUTES, forget_settings
from tests.server import serving

INVALID_SETTINGS = "DATABASE_POOL_SIZE=0\nPORT=x\n"


def test_exported_settings_and_env_file_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(INVALID_SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("signup_enabled", "false")
    forget_settings()
    assert Settings() == Settings.model_construct(environment="test", lean_routes=LEAN_ROUTES)


def test_env_file_does_not_reach_a_server(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(INVALID_SETTINGS)
    monkeypatch.chdir(tmp_path)
    with serving(database_url) as client:
        assert client.get("/health/ready").status_code == 200


def test_environment_of_a_test_sets_no_other_setting() -> None:
    found = {name.lower() for name in os.environ} & set(Settings.model_fields)
    assert found == {"environment"} | ({"lean_routes"} if not LEAN_ROUTES else set())
