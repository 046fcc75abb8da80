"""Tests of `app check --deploy`."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from app import cli
from app.core import deployment
from app.core.config import Settings
from app.core.database import startup
from app.core.database.unit_of_work import Database
from app.core.jobs.mail import Mailer
from app.core.security.rate_limit import RateLimiter
from tests.conftest import make_settings, only

GOOD: dict[str, Any] = {
    "environment": "production",
    "secret_key": "0123456789abcdef0123456789abcdef",
    "public_url": "https://app.example.com",
    "allowed_hosts": "app.example.com",
    "forwarded_allow_ips": "10.0.0.0/8",
    "host": "0.0.0.0",
}


def levels(**changes: Any) -> dict[str, str]:
    settings = Settings(_env_file=None, **GOOD | changes)
    return {each.name: each.level for each in deployment.check_settings(settings)}


def test_complete_settings_are_ok() -> None:
    assert set(levels().values()) == {"ok"}


@pytest.mark.parametrize(
    ("name", "level", "changes"),
    [
        ("environment", "error", {"environment": "local"}),
        ("https", "error", {"environment": "local", "public_url": "http://app.example.com"}),
        ("host", "error", {"allowed_hosts": "example.com"}),
        ("host", "warning", {"environment": "local", "allowed_hosts": "*"}),
        ("host", "ok", {"allowed_hosts": "*.example.com"}),
        ("host", "ok", {"allowed_hosts": "::1", "public_url": "https://[::1]"}),
        ("proxy", "warning", {"forwarded_allow_ips": "127.0.0.1"}),
        ("proxy", "ok", {"forwarded_allow_ips": "127.0.0.1", "host": "127.0.0.1"}),
        ("proxy", "warning", {"environment": "local", "forwarded_allow_ips": "*"}),
        ("key", "error", {"environment": "local", "secret_key": None}),
        ("key", "error", {"environment": "local", "secret_key": "x" * 40}),
        ("key", "error", {"environment": "local", "secret_key": "abcdefgh" * 4}),
        ("key", "ok", {"environment": "local", "secret_key": "abcdefghi" * 4}),
    ],
)
def test_problematic_setting_is_reported(name: str, level: str, changes: dict[str, Any]) -> None:
    assert levels(**changes)[name] == level


@pytest.mark.parametrize(
    ("seconds", "level"), [(5, "ok"), (5.1, "warning"), (60, "warning"), (61, "error")]
)
def test_difference_of_the_clocks_is_reported(seconds: float, level: str) -> None:
    assert deployment.check_clock(seconds).level == level


@pytest.mark.parametrize(("available", "level"), [(97, "ok"), (60, "warning"), (43, "error")])
def test_pool_larger_than_the_connections_of_the_server_is_reported(
    available: int, level: str
) -> None:
    settings = Settings(
        _env_file=None, web_concurrency=3, database_pool_size=10, redis_url="redis://cache"
    )
    assert (
        deployment.check_pool(settings, available).level == level
    )  # Four processes have 11 connections each.


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "warning"),
        ({"require_verified_email": True}, "error"),
        ({"smtp_url": "smtp://127.0.0.1:1"}, "error"),
    ],
)
async def test_missing_mail_server_is_reported(changes: dict[str, Any], level: str) -> None:
    settings = Settings(_env_file=None, **changes)
    assert (
        await deployment.check_mail(settings, Mailer(settings, [], RateLimiter(None, b"key")))
    ).level == level


async def levels_of_database(settings: Settings) -> dict[str, str]:
    database = Database(settings)
    findings = [each async for each in deployment.check_database(settings, database)]
    await database.dispose()
    return {each.name: each.level for each in findings}


@only("postgresql")
async def test_reachable_database_is_checked(settings: Settings) -> None:
    found = await levels_of_database(settings)
    assert (found["migrations"], found["clock"]) == ("ok", "ok")
    assert set(found) == {"migrations", "clock", "pool"}


@only("postgresql")
async def test_a_wrong_clock_is_one_of_the_findings(
    database_url: str, monkeypatch: pytest.MonkeyPatch, empty_working_directory: None
) -> None:
    for name, value in (GOOD | {"database_url": database_url}).items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setattr(startup, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    result = await asyncio.to_thread(CliRunner().invoke, cli.cli, ["check", "--deploy"])
    assert "error    clock       The database's clock is 3600." in result.output


@only("postgresql")
async def test_connections_behind_a_pooler_are_not_counted(settings: Settings) -> None:
    pooled = settings.model_copy(update={"database_prepared_statements": False})
    assert "pool" not in await levels_of_database(pooled)


async def test_unreachable_database_is_an_error() -> None:
    settings = make_settings("postgresql+asyncpg://app@127.0.0.1:1/app")
    assert await levels_of_database(settings) == {"database": "error"}


@pytest.mark.usefixtures("empty_working_directory")
def test_deployment_check_exits_with_1_on_an_error() -> None:
    CliRunner().invoke(cli.cli, ["db", "upgrade"], catch_exceptions=False)
    result = CliRunner().invoke(cli.cli, ["check", "--deploy"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert "error    environment ENVIRONMENT is local: set production." in lines
    assert "ok       migrations  The schema is not behind the code." in lines


@pytest.mark.usefixtures("empty_working_directory")
def test_schema_behind_the_code_is_reported(tmp_path: Any) -> None:
    (tmp_path / "data").mkdir()
    result = CliRunner().invoke(cli.cli, ["check", "--deploy"])
    assert "error    migrations  The schema is behind the code: `app db upgrade`." in result.output


@pytest.mark.usefixtures("empty_working_directory")
def test_check_without_deploy_checks_the_settings_only() -> None:
    result = CliRunner().invoke(cli.cli, ["check"])
    assert (result.exit_code, result.output) == (0, "The settings are valid.\n")
