import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.core.context import request_id_var
from app.core.database.models import utc_now
from app.core.errors import NotFound, Unavailable
from app.core.jobs import runner as runners
from app.core.jobs.queue import Call, JobQueue, JobRepository, QueuedJob
from app.core.jobs.runner import Job, retry_delay
from app.resources import Resources
from tests.conftest import make_settings, running
from tests.core.jobs.steps import queued_jobs, runner_of
from tests.greeter import add_greeter
from tests.greeter.jobs import greet
from tests.smtp import Inbox, receiving
from tests.waiting import Clock, run_pending_tasks


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with receiving() as inbox:
        yield inbox


async def enqueue(resources: Resources, job: Job, *arguments: int | str, **options: Any) -> None:
    async with resources.database.transaction() as session:
        await JobQueue(session).enqueue(job.__name__, *arguments, **options)


async def change_all(resources: Resources, **values: Any) -> None:
    async with resources.database.transaction() as session:
        await session.execute(update(QueuedJob).values(**values))


class Calls(list[Any]):
    """The arguments of each call of the job `note`."""

    def __init__(self) -> None:
        async def note(_: Resources, *arguments: Any) -> None:
            self.append(*arguments or [None])

        self.note = note


@pytest.fixture
def calls() -> Calls:
    return Calls()


async def test_job_runs_after_the_commit_and_not_before(resources: Resources, calls: Calls) -> None:
    runner = runner_of(resources, calls.note)
    async with resources.database.transaction() as session:
        await JobQueue(session).enqueue("note", 7)
        await runner.drain()
        assert calls == []
    await runner.drain()
    assert calls == [7]
    assert await queued_jobs(resources) == []


async def test_job_of_a_rolled_back_transaction_never_runs(
    resources: Resources, calls: Calls
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with resources.database.transaction() as session:
            await JobQueue(session).enqueue("note", 7)
            raise ZeroDivisionError
    await runner_of(resources, calls.note).drain()
    assert calls == []


async def test_started_runner_is_notified_of_a_commit(resources: Resources) -> None:
    ran = asyncio.Event()

    async def signal(_: Resources) -> None:
        ran.set()

    runner = runner_of(resources, signal)
    runner.start()
    await run_pending_tasks()
    await enqueue(resources, signal)
    await ran.wait()
    await runner.close()
    assert await queued_jobs(resources) == []


async def test_started_runner_finds_a_job_of_a_dead_process(
    resources: Resources, calls: Calls, clock: Clock
) -> None:
    await enqueue(resources, calls.note, 7)
    runner = runner_of(resources, calls.note)
    runner.start()
    await run_pending_tasks()
    assert calls == []
    await clock.advance(runners.POLL_SECONDS)
    async with asyncio.timeout(runners.POLL_SECONDS):
        while not calls:
            await run_pending_tasks()
    await runner.close()
    assert calls == [7]


@pytest.fixture
def greeter(monkeypatch: pytest.MonkeyPatch) -> None:
    add_greeter(monkeypatch)


async def test_server_runs_the_job_that_sends_a_mail(
    greeter: None, database_url: str, inbox: Inbox
) -> None:
    async with running(make_settings(database_url, redis_url=None, smtp_url=inbox.url)) as app:
        await enqueue(app.state.resources, greet, "ann", 7)
        await app.state.resources.jobs.drain()
    (message,) = inbox.messages
    assert message["To"] == "ann@example.com"


async def test_job_is_retried_after_a_transient_error(
    resources: Resources, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may take longer than the first pauses.
    monkeypatch.setattr(runners, "MIN_RETRY_DELAY", runners.MAX_RETRY_DELAY)
    errors: list[Exception] = [Unavailable("The mail server is away."), OSError("No route")]

    async def fail(_: Resources) -> None:
        if errors:
            raise errors.pop(0)

    runner = runner_of(resources, fail)
    await enqueue(resources, fail)
    await runner.drain()
    (job,) = await queued_jobs(resources)
    assert (job.attempts, job.has_failed) == (1, False)
    assert job.error == "Unavailable: The mail server is away."
    assert job.run_at > utc_now()
    for _ in range(2):
        await change_all(resources, run_at=utc_now())
        await runner.drain()
    assert await queued_jobs(resources) == []
    assert [each for each in caplog.messages if "attempt" in each] == [
        f"Job fail ({job.id}) failed, attempt 1: Unavailable: The mail server is away.",
        f"Job fail ({job.id}) failed, attempt 2: OSError: No route",
    ]


def test_pauses_between_attempts_grow_up_to_a_bound() -> None:
    for attempts, longest in ((1, 2), (2, 4), (3, 8), (12, 3600), (10_000, 3600)):
        pauses = [retry_delay(attempts).total_seconds() for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


async def test_job_that_fails_for_a_day_is_not_retried(resources: Resources) -> None:
    async def fail(_: Resources) -> None:
        raise Unavailable("The mail server is away.")

    await enqueue(resources, fail)
    await change_all(resources, created_at=utc_now() - runners.GIVE_UP_AFTER)
    runner = runner_of(resources, fail)
    await runner.drain()
    (job,) = await queued_jobs(resources)
    assert job.has_failed
    await change_all(resources, run_at=utc_now())
    await runner.drain()
    assert [each.attempts for each in await queued_jobs(resources)] == [1]


async def test_job_with_a_bug_fails_at_once_and_holds_up_no_other(
    resources: Resources, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Resources) -> None:
        raise ValueError("a bug")

    for _ in range(runners.MAX_RUNNING_JOBS + 1):
        await enqueue(resources, fail)
    await enqueue(resources, calls.note, 7)
    await runner_of(resources, fail, calls.note).drain()
    assert calls == [7]
    failed = await queued_jobs(resources)
    assert {(each.has_failed, each.error) for each in failed} == {(True, "ValueError: a bug")}
    assert f"Job fail ({failed[0].id}) failed" in caplog.messages


async def test_failed_job_runs_when_it_is_retried(resources: Resources) -> None:
    errors = [ValueError("a bug")]

    async def fail(_: Resources) -> None:
        if errors:
            raise errors.pop()

    runner = runner_of(resources, fail)
    await enqueue(resources, fail)
    await runner.drain()
    (job,) = await queued_jobs(resources)
    async with resources.database.transaction() as session:
        await JobRepository(session).retry(job.id)
    await runner.drain()
    assert await queued_jobs(resources) == []
    with pytest.raises(NotFound):
        async with resources.database.transaction() as session:
            await JobRepository(session).retry(job.id)


async def test_unknown_job_is_left_for_a_runner_that_knows_it(
    resources: Resources, calls: Calls
) -> None:
    async def other(_: Resources) -> None: ...

    await enqueue(resources, calls.note, 7)
    await runner_of(resources, other).drain()
    (job,) = await queued_jobs(resources)
    assert (job.attempts, job.has_failed) == (0, False)
    await runner_of(resources, calls.note).drain()
    assert calls == [7]


async def test_delayed_job_waits(resources: Resources, calls: Calls) -> None:
    await enqueue(resources, calls.note, 7, delay=timedelta(hours=1))
    await runner_of(resources, calls.note).drain()
    assert calls == []


async def test_second_job_with_a_unique_key_is_refused_while_the_first_is_queued(
    resources: Resources, calls: Calls
) -> None:
    await enqueue(resources, calls.note, 7, unique_key="a")
    with pytest.raises(IntegrityError):
        await enqueue(resources, calls.note, 7, unique_key="a")
    await runner_of(resources, calls.note).drain()
    await enqueue(resources, calls.note, 8, unique_key="a")


async def test_job_runs_once_with_two_runners(resources: Resources, calls: Calls) -> None:
    for number in range(40):
        await enqueue(resources, calls.note, number)
    one, two = (runner_of(resources, calls.note) for _ in range(2))
    await asyncio.gather(one.drain(), two.drain())
    assert sorted(calls) == [*range(40)]


async def test_drain_waits_for_jobs_that_the_started_runner_has_leased(
    resources: Resources, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_lanes, is_leasing = JobRepository.lease_lanes, asyncio.Event()

    async def lease_slowly(*arguments: Any) -> Any:
        is_leasing.set()
        for _ in range(20):  # Let the other call read the queue meanwhile.
            await run_pending_tasks()
        return await lease_lanes(*arguments)

    monkeypatch.setattr(JobRepository, "lease_lanes", lease_slowly)
    runner = runner_of(resources, calls.note)
    runner.start()
    await run_pending_tasks()
    await enqueue(resources, calls.note, 7)
    await is_leasing.wait()
    monkeypatch.setattr(JobRepository, "has_due", AsyncMock(return_value=False))
    await runner.drain()
    drained = [*calls]
    await runner.close()
    assert drained == [7]


async def test_runner_runs_a_bounded_number_at_once(resources: Resources) -> None:
    now = most = 0

    async def work(_: Resources) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    for _ in range(25):
        await enqueue(resources, work)
    await runner_of(resources, work).drain()
    assert (now, most) == (0, runners.MAX_RUNNING_JOBS)


async def test_interrupted_job_runs_again(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runners, "STOP_SECONDS", 0)
    started = asyncio.Event()

    async def work(_: Resources) -> None:
        started.set()
        await asyncio.Event().wait()

    runner = runner_of(resources, work)
    runner.start()
    await run_pending_tasks()
    await enqueue(resources, work)
    await started.wait()
    await runner.close()
    (job,) = await queued_jobs(resources)
    assert job.run_at <= utc_now()
    assert f"Job work ({job.id}) was interrupted and will run again" in caplog.messages


async def test_job_of_a_dead_runner_runs_when_its_lease_has_ended(
    resources: Resources, calls: Calls
) -> None:
    await enqueue(resources, calls.note, 7)
    async with resources.database.transaction() as session:
        (dead,) = await JobRepository(session).lease_due(["note"], 1, runners.LEASE)
    runner = runner_of(resources, calls.note)
    await runner.drain()
    assert calls == []
    await change_all(resources, run_at=utc_now())
    await runner.drain()
    assert calls == [7]
    await enqueue(resources, calls.note, 8)
    async with resources.database.transaction() as session:  # The runner was slow, not dead.
        await JobRepository(session).finish(dead)
    assert len(await queued_jobs(resources)) == 1


async def test_expired_lease_does_not_end_a_newer_one(resources: Resources, calls: Calls) -> None:
    await enqueue(resources, calls.note, 7)
    async with resources.database.transaction() as session:
        (slow,) = await JobRepository(session).lease_due(["note"], 1, timedelta(0))
    async with resources.database.transaction() as session:
        (second,) = await JobRepository(session).lease_due(["note"], 1, runners.LEASE)
    async with resources.database.transaction() as session:
        await JobRepository(session).fail(slow, "too late")
    (job,) = await queued_jobs(resources)
    assert (job.has_failed, job.attempts) == (False, second.attempts)


async def test_runner_continues_after_the_database_was_unavailable(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran = asyncio.Event()

    async def signal(_: Resources) -> None:
        ran.set()

    looks, has_due = list[str](), JobRepository.has_due

    async def fail_twice(self: JobRepository, names: Any, lanes: Any) -> bool:
        looks.append("has_due")
        if len(looks) <= 2:
            raise Unavailable("The database is away.")
        return await has_due(self, names, lanes)

    monkeypatch.setattr(JobRepository, "has_due", fail_twice)
    runner = runner_of(resources, signal)
    runner.start()
    await run_pending_tasks()
    for _ in range(3):
        await enqueue(resources, signal)
        await run_pending_tasks()
    await ran.wait()
    await runner.close()
    assert len([each for each in caplog.messages if "cannot be read" in each]) == 1


async def test_job_has_the_id_of_the_request_that_queued_it(resources: Resources) -> None:
    seen = list[str | None]()

    async def look(_: Resources) -> None:
        seen.append(request_id_var.get())

    request_id_var.set("abc")
    await enqueue(resources, look)
    request_id_var.set("another")
    await runner_of(resources, look).drain()
    assert seen == ["abc"]


def test_invalid_list_of_jobs_stops_the_start(resources: Resources) -> None:
    async def job(_: Resources) -> None: ...

    def sync(_: Resources) -> None: ...

    for wrong in ([job, job], [sync]):
        with pytest.raises(ValueError, match="is not an async function, or two jobs"):
            runner_of(resources, *wrong)


async def test_readiness_has_the_number_of_due_jobs_and_the_age_of_the_oldest(
    resources: Resources, client: httpx.AsyncClient
) -> None:
    assert (await client.get("/health/ready")).json()["jobs"] == {"due": 0, "oldest_seconds": 0}
    await enqueue(resources, greet, "failed@example.com")
    await change_all(resources, has_failed=True)
    await enqueue(resources, greet, "later@example.com", delay=timedelta(hours=1))
    await enqueue(resources, greet, "now@example.com")
    await enqueue(resources, greet, "before@example.com", delay=timedelta(minutes=-5))
    jobs = (await client.get("/health/ready")).json()["jobs"]
    assert jobs["due"] == 2
    assert jobs["oldest_seconds"] >= 300


async def test_jobs_of_a_lane_run_one_after_another_and_hold_up_no_other(
    resources: Resources, calls: Calls
) -> None:
    started, released = list[int](), asyncio.Event()

    async def wait(_: Resources, number: int) -> None:
        started.append(number)
        await released.wait()

    async with resources.database.transaction() as session:
        queue = JobQueue(session)
        slow = [Call([number], "slow") for number in range(30)]
        await queue.enqueue_many("wait", [*slow, Call([100], "other")])
        await queue.enqueue("note", 7)
    runner = runner_of(resources, wait, calls.note)
    draining = asyncio.create_task(runner.drain())
    while not calls or len(started) < 2:
        await run_pending_tasks()
    assert await runner._start_due_jobs() == 0  # The others are of a lane that is busy.
    await run_pending_tasks()
    assert (sorted(started), calls) == ([0, 100], [7])
    released.set()
    await draining
    assert started == [*started[:2], *range(1, 30)]
    assert await queued_jobs(resources) == []


async def test_jobs_of_a_lane_run_once_with_two_runners(resources: Resources, calls: Calls) -> None:
    async with resources.database.transaction() as session:
        jobs = [Call([number], f"lane {number % 7}") for number in range(40)]
        await JobQueue(session).enqueue_many("note", jobs)
    one, two = (runner_of(resources, calls.note) for _ in range(2))
    await asyncio.gather(one.drain(), two.drain())
    assert sorted(calls) == [*range(40)]
