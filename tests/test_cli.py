import asyncio
import json
import re
import socket
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app import cli
from app.__main__ import main
from app.core.config import Settings, get_settings
from app.core.http.listener import Workers
from app.core.http.server import require_free_port
from app.core.jobs.queue import JobQueue, JobRepository, QueuedJob
from app.resources import app_resources
from tests.slices import needs

pytestmark = pytest.mark.usefixtures("empty_working_directory")


@pytest.fixture(autouse=True)
def _any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests name addresses that are in use, or that this machine does not have."""
    monkeypatch.setattr("app.cli.require_free_port", lambda host, port: None)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


class Interrupted(MetaPathFinder):
    """An import in which Ctrl-C is pressed."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "app.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "app.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


@needs("items")
def test_openapi_command_prints_the_document() -> None:
    assert json.loads(run("openapi"))["paths"]["/api/v1/items"]


def test_settings_are_listed_with_their_origins_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nLOG_LEVEL=DEBUG\nSECRET_KEY=hidden-one\n")
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("REDIS_URL", "redis://:hidden-two@cache/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:hidden-three@db/app")
    output = run("settings")
    rows = [line.split(maxsplit=1) for line in output.splitlines()]
    settings = {name: tuple(rest.rsplit(maxsplit=1)) for name, rest in rows}
    assert settings["PORT"] == ("9001", "environment")
    assert settings["LOG_LEVEL"] == ("DEBUG", ".env")
    assert settings["HOST"] == ("127.0.0.1", "default")
    assert settings["CORS_ORIGINS"] == ("unset", "default")
    assert settings["SECRET_KEY"] == ("********", ".env")
    assert settings["DATABASE_URL"][0].endswith("app:***@db/app")
    assert {name.lower() for name in settings} == {*Settings.model_fields}
    assert "hidden" not in output


@needs("items", "features/items/live.py")
def test_routes_are_listed_with_their_endpoints_and_scopes() -> None:
    rows = {tuple(line.split()[:4]) for line in run("routes").splitlines()}
    items = "app.features.items"
    assert ("POST", "/api/v1/items", f"{items}.router.create_item", "items:write") in rows
    assert ("GET", "/health/live", "app.core.http.health.read_liveness", "-") in rows
    assert ("WS", "/api/v1/items/live", f"{items}.live.watch_items", "items:read") in rows


@needs("core/fastpath/router.py")
@pytest.mark.parametrize(("is_lean", "router"), [("true", "fast"), ("false", "FastAPI")])
def test_routes_name_the_router_that_serves_them(
    monkeypatch: pytest.MonkeyPatch, is_lean: str, router: str
) -> None:
    monkeypatch.setenv("LEAN_ROUTES", is_lean)
    (line,) = [each for each in run("routes").splitlines() if "read_liveness" in each]
    assert line.split()[-1] == router


def completions(monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    """Return what bash offers at the Tab key after the words."""
    monkeypatch.setenv("_APP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    return CliRunner().invoke(cli.cli, [], prog_name="app").output.split()


def test_completion_lists_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ["upgrade", "check", "backup", "restore", "reset"]
    assert completions(monkeypatch, "app db ") == expected


@needs("admin.py", "project/cli.py")
def test_completion_lists_the_parts_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions(monkeypatch, "app remove adm") == ["admin"]


def test_limit_of_jobs_below_one_is_refused() -> None:
    assert CliRunner().invoke(cli.cli, ["jobs", "list", "--limit", "0"]).exit_code == 2


def test_upgrade_creates_the_folder_and_the_tables(tmp_path: Path) -> None:
    run("db", "upgrade")
    run("db", "upgrade")
    assert (tmp_path / "data" / "app.db").stat().st_size > 0


def test_check_creates_no_database(tmp_path: Path) -> None:
    run("db", "check")
    assert list(tmp_path.iterdir()) == []


def test_failed_job_is_listed_and_can_be_retried() -> None:
    run("db", "upgrade")
    assert "attempts" not in run("jobs", "list")

    async def add() -> None:
        async with (
            app_resources(get_settings()) as resources,
            resources.database.transaction() as session,
        ):
            await JobQueue(session).enqueue("greet")
            await session.execute(update(QueuedJob).values(has_failed=True, error="a bug"))

    asyncio.run(add())
    assert re.search(r"1  greet +failed +attempts: 0  a bug\n", run("jobs", "list"))
    assert run("jobs", "retry", "1") == "Queued again: greet\n"
    assert "failed" not in run("jobs", "list")
    result = CliRunner().invoke(cli.cli, ["jobs", "retry", "1"])
    assert result.exit_code == 1
    assert "Not Found (id: 1)" in result.output


def test_serve_migrates_and_passes_the_settings_to_uvicorn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = dict[str, Any]()
    monkeypatch.setattr("uvicorn.run", lambda app, **options: served.update(options, app=app))
    monkeypatch.setenv("PORT", "9000")
    output = run("serve", "--migrate")
    assert "http://127.0.0.1:9000/docs" in output
    assert (tmp_path / "data" / "superuser_password").read_text() in output
    assert (tmp_path / "data" / "app.db").exists()
    assert (served["port"], served["reload"]) == (9000, False)
    assert served["access_log"] is False
    assert served["log_level"] == "warning"  # The addresses stay the last lines of the output.
    assert [line for line in output.splitlines() if line][-1].startswith("  Sign in ")


def test_server_that_reloads_migrates_at_each_start(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = dict[str, Any]()
    monkeypatch.setattr("uvicorn.run", lambda app, **options: served.update(options, app=app))
    run("serve", "--migrate", "--reload")
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    get_settings.cache_clear()

    async def start() -> None:
        Config(served["app"], factory=served["factory"], log_config=None).load()
        async with (
            app_resources(get_settings()) as resources,
            resources.database.reading() as session,
        ):
            assert await JobRepository(session).list(1) == []

    asyncio.run(start())


def test_serve_starts_as_many_workers_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[int]()
    monkeypatch.setattr(Config, "bind_socket", lambda config: None)
    monkeypatch.setattr(Workers, "run", lambda workers: started.append(workers.config.workers))
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    run("serve")
    assert started == [3]


def test_serve_fails_if_a_worker_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(workers: Multiprocess) -> None:
        workers.processes = [SimpleNamespace(exitcode=code) for code in (0, STARTUP_FAILURE)]  # type: ignore[misc]

    monkeypatch.setattr(Config, "bind_socket", lambda config: None)
    monkeypatch.setattr(Multiprocess, "run", fail)
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert CliRunner().invoke(cli.cli, ["serve"]).exit_code == STARTUP_FAILURE


def test_serve_in_production_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.run", lambda app, **options: None)
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef" * 2)
    monkeypatch.setenv("PUBLIC_URL", "https://example.com")
    monkeypatch.setenv("FIRST_SUPERUSER_EMAIL", "root@example.com")
    monkeypatch.setenv("FIRST_SUPERUSER_PASSWORD", "a secret of mine")
    assert run("serve") == ""


def test_configured_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.run", lambda app, **options: None)
    monkeypatch.setenv("FIRST_SUPERUSER_EMAIL", "root@example.com")
    monkeypatch.setenv("FIRST_SUPERUSER_PASSWORD", "a secret of mine")
    output = run("serve")
    assert "root@example.com" in output
    assert "a secret of mine" not in output


def test_invalid_setting_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    result = CliRunner().invoke(cli.cli, ["serve"])
    assert str(result.exception).startswith("PORT: ")
    assert result.exit_code != 0


@pytest.mark.parametrize(
    ("host", "shown"),
    [("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("fd00::1", "[fd00::1]"), ("10.0.0.1", "10.0.0.1")],
)
def test_serve_prints_an_address_for_the_browser(
    monkeypatch: pytest.MonkeyPatch, host: str, shown: str
) -> None:
    monkeypatch.setattr("uvicorn.run", lambda app, **options: None)
    monkeypatch.setenv("HOST", host)
    assert f"http://{shown}:8000/docs" in run("serve")


def test_occupied_port_is_reported_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.require_free_port", require_free_port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        result = CliRunner().invoke(cli.cli, ["serve"])
    assert result.exit_code != 0
    (line,) = str(result.exception).splitlines()
    assert f"port {port}: Address already in use." in line
    assert f"PORT={port % 65535 + 1} make run" in line


def test_unknown_host_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.require_free_port", require_free_port)
    monkeypatch.setenv("HOST", "203.0.113.1")
    result = CliRunner().invoke(cli.cli, ["serve"])
    (line,) = str(result.exception).splitlines()
    assert "203.0.113.1" in line
    assert "Set another HOST or PORT." in line
