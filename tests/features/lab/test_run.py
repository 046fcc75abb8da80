"""`app lab run`: its measurements and its cleanup. `test_page.py` cancels a run."""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.core.config import Settings
from app.core.errors import Conflict
from app.features.lab.repository import empty_database
from app.features.lab.schemas import STEPS, Plan, Progress, Results
from app.features.lab.service import runner
from tests.conftest import only
from tests.databases import Databases

PLAN = Plan(seconds=0.1, clients=[2], query_ms=1)


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.slow("it starts a server for each step")
async def test_run_measures_all_steps(settings: Settings) -> None:
    events = [event async for event in runner.measure(settings, PLAN)]
    shown = [event for event in events if isinstance(event, Progress)]
    assert [(each.done, each.total) for each in shown] == [(done, 8) for done in range(8)]
    results = events[-1]
    assert isinstance(results, Results)
    assert [(each.step, each.operation, each.clients) for each in results.measurements] == [
        (step, *round_) for step in STEPS for round_ in (("items", 2), ("report", 1))
    ]
    assert [each.queries for each in results.measurements] == [1, 11, 1, 11, 1, 11, 1, 2]
    assert not any(each.errors for each in results.measurements)


@only("postgresql")
async def test_second_run_raises_conflict(
    databases: Databases, settings: Settings, lab_name: str, nothing_is_left: None
) -> None:
    """The lock is held across processes. The database of a killed run is no obstacle."""
    left = f"CREATE DATABASE {lab_name}"
    await asyncio.to_thread(databases.execute, settings.database_url.get_secret_value(), left)
    async with empty_database(settings):
        with pytest.raises(Conflict):
            await anext(runner.measure(settings, PLAN))


@only("sqlite")
def test_command_shows_and_saves_the_results(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_working_directory: None,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(runner, "STEPS", {"step4": "async"})
    options = ["--seconds", "0.1", "--clients", "1,2", "--json", "a.json", "--chart", "a.svg"]
    result = CliRunner().invoke(cli, ["lab", "run", *options], catch_exceptions=False)
    assert "items, 2 clients" in result.output
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["plan"] == {"seconds": 0.1, "clients": [1, 2], "query_ms": 20}
    assert figures["machine"]["cores"] >= 1
    assert len(figures["measurements"]) == 3
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clients", "1,many"], "--clients: Input should be a valid integer"),
        (["--clients", "0"], "--clients: Input should be greater than or equal to 1"),
        (["--query-ms", "-1"], "--query-ms: Input should be greater than or equal to 0"),
        (["--chart", "a.png"], "--chart: The file name must end in .svg"),
    ],
)
def test_invalid_option_is_refused_in_one_line(options: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["lab", "run", *options])
    assert result.exit_code != 0
    assert str(result.exception).startswith(message)


def test_missing_sync_driver_is_named(
    monkeypatch: pytest.MonkeyPatch, empty_working_directory: None
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    monkeypatch.setattr(runner, "find_spec", lambda name: None)
    result = CliRunner().invoke(cli, ["lab", "run"])
    assert "psycopg" in str(result.exception)
