import asyncio

import pytest

from app.core.errors import Conflict
from app.features.lab.schemas import Event, Failed, Plan
from app.features.lab.service import runs
from app.features.lab.service.figures import read_results
from tests.conftest import make_settings
from tests.features.lab.steps import PROGRESS, Measure

SETTINGS = make_settings("sqlite+aiosqlite:///nothing.db")
RESULTS = read_results()


async def watched(run: runs.Run) -> list[Event]:
    return [event async for event in run.watch()]


async def test_second_run_raises_conflict_and_every_client_gets_all_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = Measure(Conflict("Another has the lock."))
    monkeypatch.setattr(runs, "measure", measure)
    lab = runs.Runs(SETTINGS, RESULTS)
    run = lab.start(Plan())
    early = asyncio.create_task(watched(run))
    first = await anext(run.watch())
    assert first == PROGRESS
    with pytest.raises(Conflict):
        lab.start(Plan())
    measure.may_continue.set()
    events = [PROGRESS, Failed(detail="Another has the lock.")]
    assert await early == await watched(run) == events
    await run.task
    assert lab.start(Plan()) is lab.current is not run


async def test_internal_error_is_logged_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measure = Measure(OSError("/secret/path"))
    measure.may_continue.set()
    monkeypatch.setattr(runs, "measure", measure)
    last = (await watched(runs.Runs(SETTINGS, RESULTS).start(Plan())))[-1]
    assert isinstance(last, Failed)
    assert "secret" not in last.detail
    assert "/secret/path" in caplog.text


async def test_run_can_be_canceled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "measure", measure := Measure(OSError()))
    run = runs.Runs(SETTINGS, RESULTS).start(Plan())
    assert await anext(run.watch()) == PROGRESS
    run.task.cancel()
    assert isinstance((await watched(run))[-1], Failed)
    assert measure.is_canceled
