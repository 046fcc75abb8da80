"""Slow lanes leave places for quick ones."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from app.core.database.models import utc_now
from app.core.jobs import lanes, runner
from app.core.jobs.lanes import MAX_RUNNING_LANES, MAX_SLOW_LANES, LaneMemory
from app.core.jobs.queue import Call, JobQueue, QueuedJob
from app.core.jobs.runner import JobRunner
from app.resources import Resources
from tests.conftest import counted_statements
from tests.core.jobs.steps import queued_jobs, runner_of
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import run_pending_tasks


class Lanes:
    """Jobs that note their lane and wait until they are released."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.released = asyncio.Event()
        self.started = list[str]()

        async def wait(_: Resources, lane: str) -> None:
            self.started.append(lane)
            await self.released.wait()

        self.runner: JobRunner = runner_of(resources, wait)

    async def enqueue(self, names: Iterable[str]) -> None:
        async with self._resources.database.transaction() as session:
            await JobQueue(session).enqueue_many("wait", [Call([name], name) for name in names])

    async def run_all(self, names: Iterable[str]) -> None:
        await self.enqueue(names)
        self.released.set()
        await self.runner.drain()
        self.started.clear()
        self.released.clear()

    async def start(self) -> list[str]:
        """Start the jobs that have a place, and return their lanes."""
        while await self.runner._start_due_jobs():
            await run_pending_tasks()
        return self.started


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no job be slow because the machine is busy."""
    monkeypatch.setattr(lanes, "QUICK_SECONDS", DEADLINE_SECONDS)


@pytest.fixture
def jobs(app: FastAPI) -> Lanes:
    return Lanes(app.state.resources)


def named(name: str, count: int) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


async def end(jobs: Lanes) -> None:
    jobs.released.set()
    await jobs.runner.drain()


async def test_unknown_lanes_take_half_of_the_places_and_quick_ones_the_others(
    jobs: Lanes,
) -> None:
    await jobs.run_all(named("quick", MAX_RUNNING_LANES))
    await jobs.enqueue(named("unknown", MAX_RUNNING_LANES))
    assert len(await jobs.start()) == MAX_SLOW_LANES
    await jobs.enqueue(named("quick", MAX_RUNNING_LANES))
    started = await jobs.start()
    assert len(started) == MAX_RUNNING_LANES
    assert sum(lane.startswith("quick") for lane in started) == MAX_RUNNING_LANES - MAX_SLOW_LANES
    await end(jobs)


async def test_lanes_that_were_quick_take_all_places(jobs: Lanes) -> None:
    await jobs.run_all(named("quick", MAX_RUNNING_LANES + 1))
    await jobs.enqueue(named("quick", MAX_RUNNING_LANES + 1))
    assert len(await jobs.start()) == MAX_RUNNING_LANES
    await end(jobs)


async def test_slow_lanes_get_their_share_while_quick_ones_wait(jobs: Lanes) -> None:
    await jobs.run_all(named("quick", MAX_RUNNING_LANES))
    await jobs.enqueue([*named("quick", MAX_RUNNING_LANES), *named("slow", MAX_RUNNING_LANES)])
    started = await jobs.start()
    assert sum(lane.startswith("slow") for lane in started) == MAX_SLOW_LANES
    await end(jobs)


async def test_lane_is_slow_after_a_job_that_was_not_quick(
    jobs: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await jobs.run_all(named("slow", MAX_RUNNING_LANES))
    monkeypatch.setattr(lanes, "QUICK_SECONDS", 0)
    await jobs.run_all(named("slow", MAX_RUNNING_LANES))
    await jobs.enqueue(named("slow", MAX_RUNNING_LANES))
    assert len(await jobs.start()) == MAX_SLOW_LANES
    await end(jobs)


async def test_lane_is_quick_if_its_jobs_are_although_the_queue_is_slow(
    jobs: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, change = 0, JobRunner._update
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: seconds))

    async def change_slowly(*arguments: Any) -> None:
        nonlocal seconds
        seconds += lanes.QUICK_SECONDS
        await change(*arguments)

    monkeypatch.setattr(JobRunner, "_update", change_slowly)
    await jobs.run_all(["quick"])
    assert seconds > 0
    assert jobs.runner._lanes.free([]).quick == ["quick"]


async def test_statements_are_the_same_for_any_number_of_known_lanes(
    app: FastAPI, jobs: Lanes
) -> None:
    """PostgreSQL and SQLAlchemy keep what they have prepared by the text of a statement."""
    texts = set[frozenset[str]]()
    for count in (1, 2, lanes.MAX_QUICK_LANES + 1):
        for lane in named("quick", count):
            jobs.runner._lanes.note(lane, 0)
        await jobs.enqueue(["quick 0"])
        async with counted_statements(app) as statements:
            await jobs.runner._start_due_jobs()
        texts.add(frozenset(statements))
        await end(jobs)
    assert len(texts) == 1


def test_memory_forgets_the_lane_that_was_noted_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "MAX_QUICK_LANES", 2)
    memory = LaneMemory()
    for lane in ("a", "b", "a", "c"):
        memory.note(lane, 0)
    assert memory.free([]).quick == ["a", "c"]


async def test_only_jobs_of_the_lane_that_never_ran_are_hastened(app: FastAPI) -> None:
    later = utc_now() + timedelta(hours=1)
    values = {"name": "wait", "lane": "a", "created_at": later, "run_at": later}
    states: list[dict[str, Any]] = [{}, {"attempts": 1}, {"has_failed": True}, {"lane": "b"}]
    database = app.state.resources.database
    async with database.transaction() as session:
        for number, state in enumerate(states):
            session.add(QueuedJob(**values | state, arguments=[number]))
    async with database.transaction() as session:
        assert await JobQueue(session).hasten("a") == [[0]]
    jobs = await queued_jobs(app.state.resources)
    assert [job.run_at < later for job in jobs] == [True, False, False, False]
