import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSimError
from fastapi import FastAPI
from sqlalchemy import delete, select, update

from app.core.database.models import utc_now
from app.core.errors import Unavailable
from app.core.jobs import schedule
from app.core.jobs.queue import JobQueue, QueuedJob
from app.core.jobs.runner import JobRunner
from app.core.jobs.schedule import Schedule, Schedules, last_due, schedule_of, scheduled
from app.resources import Resources

NIGHTLY = "0 3 * * *"
AGES_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


def schedules_of(resources: Resources) -> Schedules:
    return Schedules({"tidy": NIGHTLY}, resources.database)


async def queued_names(resources: Resources) -> list[str]:
    async with resources.database.reading() as session:
        return [*await session.scalars(select(QueuedJob.name))]


async def set_last_due(resources: Resources, time: datetime) -> None:
    async with resources.database.transaction() as session:
        await session.execute(update(Schedule).values(last_due_at=time))


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-27 03:00:01", "2026-11-27 03:00"),
        ("2026-11-27 02:59:59", "2026-11-26 03:00"),
        ("2026-03-01 00:00:00", "2026-02-28 03:00"),
    ],
)
def test_last_due_is_the_latest_time_before_now(now: str, due: str) -> None:
    found = last_due(NIGHTLY, datetime.fromisoformat(f"{now}+00:00"))
    assert found == datetime.fromisoformat(f"{due}+00:00")


async def test_new_schedule_has_missed_nothing(resources: Resources) -> None:
    await schedules_of(resources).enqueue_due()
    assert await queued_names(resources) == []


async def test_missed_runs_are_caught_up_once(resources: Resources) -> None:
    await schedules_of(resources).enqueue_due()
    await set_last_due(resources, AGES_AGO)
    schedules = schedules_of(resources)
    for _ in range(3):
        await schedules.enqueue_due()
    await schedules_of(resources).enqueue_due()
    assert await queued_names(resources) == ["tidy"]


async def test_scheduled_run_is_queued_by_one_process(resources: Resources) -> None:
    await asyncio.gather(*(schedules_of(resources).enqueue_due() for _ in range(5)))
    assert await queued_names(resources) == []
    await set_last_due(resources, AGES_AGO)
    await asyncio.gather(*(schedules_of(resources).enqueue_due() for _ in range(5)))
    assert await queued_names(resources) == ["tidy"]


async def test_schedule_goes_on_once_a_clock_that_was_ahead_is_corrected(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules = schedules_of(resources)
    await schedules.enqueue_due()
    monkeypatch.setattr(schedule, "utc_now", lambda: utc_now() + timedelta(days=365))
    await schedules.enqueue_due()
    assert await queued_names(resources) == ["tidy"]
    monkeypatch.undo()
    for each in (schedules, schedules, schedules_of(resources)):
        await each.enqueue_due()
        assert await queued_names(resources) == ["tidy", "tidy"]
    monkeypatch.setattr(schedule, "utc_now", lambda: utc_now() + timedelta(days=1))
    await schedules.enqueue_due()
    assert await queued_names(resources) == ["tidy", "tidy", "tidy"]


async def test_run_of_a_process_whose_clock_is_a_little_ahead_is_not_repeated(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = datetime(2026, 11, 27, 3, tzinfo=UTC)
    for minutes in (-2, 1, -1, 1):
        now = three + timedelta(minutes=minutes)
        monkeypatch.setattr(schedule, "utc_now", lambda now=now: now)
        await schedules_of(resources).enqueue_due()
    assert await queued_names(resources) == ["tidy"]


def test_invalid_cron_expression_is_refused_at_import() -> None:
    with pytest.raises(CronSimError):
        scheduled("61 * * * *")


def test_job_without_a_schedule_has_none() -> None:
    async def job(_: Resources) -> None: ...

    assert schedule_of(job) is None
    assert schedule_of(scheduled(NIGHTLY)(job)) == NIGHTLY


async def test_last_and_next_time_of_a_schedule_are_listed(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = utc_now()  # It stands still: the time of the schedule may come during the test.
    monkeypatch.setattr(schedule, "utc_now", lambda: now)
    schedules = schedules_of(resources)
    (status,) = await schedules.list()
    assert (status.name, status.cron, status.stored) == ("tidy", NIGHTLY, None)
    await schedules.enqueue_due()
    (status,) = await schedules.list()
    assert status.stored
    assert status.next_due_at - status.stored.last_due_at == timedelta(days=1)
    assert (status.next_due_at.hour, status.stored.finished_at) == (3, None)


async def test_outcome_and_duration_of_the_last_run_are_stored(resources: Resources) -> None:
    errors: list[Exception] = [Unavailable("away"), ValueError("a bug")]

    @scheduled(NIGHTLY)
    async def tidy(_: Resources) -> None:
        if errors:
            raise errors.pop(0)

    runner = JobRunner([tidy], resources.database, resources.broadcast)
    runner.resources = resources
    await runner.schedules.enqueue_due()
    for error in ("Unavailable: away", "ValueError: a bug", None):
        async with resources.database.transaction() as session:
            await session.execute(delete(QueuedJob))
            await JobQueue(session).enqueue("tidy")
        await runner.drain()
        (status,) = await runner.schedules.list()
        assert status.stored
        assert (status.stored.error, status.stored.finished_at is None) == (error, False)
        assert isinstance(status.stored.duration_ms, int)
