"""Checks of PostgreSQL's clock and connections at the start."""

import logging
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from app.cli import cli
from app.core.config import Settings, get_settings
from app.core.database import startup
from app.core.database.startup import check_clock, required_connections
from app.core.database.unit_of_work import Database
from app.resources import app_resources
from tests.conftest import make_settings, only
from tests.server import free_port

DAYS = 24 * 60 * 60
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Put the process's clock forward by a number of seconds."""

    def set_clock(seconds: float) -> None:
        clock = SimpleNamespace(time=lambda: time.time() + seconds)
        monkeypatch.setattr(startup, "time", clock)

    return set_clock


def production(settings: Settings) -> Settings:
    return settings.model_copy(update={"environment": "production"})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        each.getMessage()
        for each in caplog.records
        if each.name == "app.startup" and each.levelno >= logging.WARNING
    ]


async def test_equal_clocks_log_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with app_resources(settings):
        pass
    assert warnings(caplog) == []


@only("postgresql")
@pytest.mark.parametrize("seconds", [-20, 20, 40 * DAYS])
async def test_different_clocks_log_a_warning(
    settings: Settings, set_clock: SetClock, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    set_clock(seconds)
    async with app_resources(settings):
        pass
    (message,) = warnings(caplog)
    assert f"differ by {abs(seconds):,} seconds" in message


@only("postgresql")
@pytest.mark.parametrize("seconds", [-2 * 60, 40 * DAYS])
async def test_production_does_not_start_with_a_wrong_clock(
    settings: Settings, set_clock: SetClock, seconds: float
) -> None:
    set_clock(seconds)
    with pytest.raises(SystemExit, match="differ by"):
        async with app_resources(production(settings)):
            pytest.fail("It has started.")


@only("postgresql")
async def test_production_starts_with_a_slightly_wrong_clock(
    settings: Settings, set_clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(30)
    async with app_resources(production(settings)):
        assert len(warnings(caplog)) == 1


@only("sqlite")
async def test_clock_is_not_checked_on_sqlite(settings: Settings, set_clock: SetClock) -> None:
    set_clock(40 * DAYS)
    async with app_resources(production(settings)):
        pass


async def test_database_that_is_unavailable_does_not_stop_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = make_settings("postgresql+asyncpg://postgres@127.0.0.1:1/postgres")
    database = Database(settings)
    await check_clock(settings, database)
    await database.dispose()
    (message,) = warnings(caplog)
    assert "could not be read" in message


@pytest.fixture
def served(
    database_url: str, empty_working_directory: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Serve with these settings, without a server."""
    monkeypatch.setattr("uvicorn.run", lambda app, **options: None)
    monkeypatch.setattr("uvicorn.Config.bind_socket", lambda config: None)
    monkeypatch.setattr("app.core.http.listener.Workers.run", lambda workers: None)
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("PORT", str(free_port()))

    def serve(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        result = CliRunner().invoke(cli, ["serve"], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    return serve


@only("postgresql")
def test_workers_with_too_many_connections_log_one_warning(
    served: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    served(WEB_CONCURRENCY="500", DATABASE_POOL_SIZE="9")
    (message,) = warnings(caplog)
    assert "allow 5000 connections, and PostgreSQL has " in message


@only("postgresql")
def test_workers_behind_a_pooler_log_no_warning(
    served: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    served(WEB_CONCURRENCY="500", DATABASE_PREPARED_STATEMENTS="false")
    assert warnings(caplog) == []


def test_few_workers_log_no_warning(
    served: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    served(WEB_CONCURRENCY="1")
    assert warnings(caplog) == []


def test_required_connections_include_those_of_the_worker() -> None:
    settings = Settings(_env_file=None, web_concurrency=4, database_pool_size=10)
    redis = settings.model_copy(update={"redis_url": SecretStr("redis://cache")})
    assert (required_connections(settings), required_connections(redis)) == (44, 55)


def test_worker_has_a_connection_to_listen(settings: Settings) -> None:
    changes = {"web_concurrency": 4, "database_pool_size": 10, "redis_url": None}
    four = settings.model_copy(update=changes)
    assert required_connections(four) == 44
    assert required_connections(four.model_copy(update={"session_cache": False})) == 40
