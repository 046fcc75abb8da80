"""Tests of `app worker` in a separate process."""

import asyncio
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from app.cli import cli
from app.core.config import get_settings
from app.core.jobs.queue import JobQueue, QueuedJob
from app.core.jobs.runner import Job
from app.resources import app_resources
from tests.conftest import make_settings
from tests.greeter.jobs import note, release
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually, eventually_async
from tests.worker import wait_for_line, working

Enqueue = Callable[..., None]


@pytest.fixture
def url(own_database_url: str) -> str:
    return own_database_url


@pytest.fixture
def enqueue(url: str, redis_url: str) -> Enqueue:
    """Return a function that queues a job, as a server does."""

    def enqueue(job: Job, *arguments: int | str) -> None:
        async def commit() -> None:
            async with (
                app_resources(make_settings(url, redis_url=redis_url)) as resources,
                resources.database.transaction() as session,
            ):
                await JobQueue(session).enqueue(job.__name__, *arguments)

        asyncio.run(commit())

    return enqueue


def count_of_jobs(url: str) -> int:
    async def count() -> int:
        async with (
            app_resources(make_settings(url)) as resources,
            resources.database.reading() as session,
        ):
            return await session.scalar(select(func.count()).select_from(QueuedJob)) or 0

    return asyncio.run(count())


def until_renewed(url: str, times: int) -> None:
    """Wait until the lease of the only job was renewed this number of times."""
    seen = set[datetime]()

    async def wait() -> None:
        async with app_resources(make_settings(url)) as resources:

            async def is_renewed() -> bool:
                async with resources.database.reading() as session:
                    seen.update(await session.scalars(select(QueuedJob.run_at)))
                return len(seen) > times

            await eventually_async(is_renewed)

    asyncio.run(wait())


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_jobs_queued_before_the_first_worker_are_run(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    release(path)
    for _ in range(3):
        enqueue(note, str(path))
    with working(redis_url, url):
        eventually(lambda: lines(path).count("done") == 3)
        eventually(lambda: count_of_jobs(url) == 0)


def test_worker_is_notified_of_a_job_by_redis(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    release(path)
    with working(redis_url, url, TEST_POLL_SECONDS=str(10 * DEADLINE_SECONDS)):
        enqueue(note, str(path))
        eventually(lambda: "done" in lines(path))


def test_worker_finds_a_job_while_redis_is_unavailable(
    url: str, unused_tcp_port: int, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    release(path)
    redis_url = f"redis://127.0.0.1:{unused_tcp_port}"

    async def commit() -> None:
        async with (
            app_resources(make_settings(url)) as resources,
            resources.database.transaction() as session,
        ):
            await JobQueue(session).enqueue("note", str(path))

    with working(redis_url, url):
        asyncio.run(commit())
        eventually(lambda: "done" in lines(path))


def test_job_of_a_killed_worker_runs_in_the_next(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    enqueue(note, str(path))
    with working(redis_url, url) as worker:
        eventually(lambda: lines(path) == ["started"])
        worker.kill()
        worker.wait()
    release(path)
    with working(redis_url, url):
        eventually(lambda: lines(path) == ["started", "started", "done"])


def test_job_longer_than_its_lease_runs_once(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    enqueue(note, str(path))
    with working(redis_url, url), working(redis_url, url):
        eventually(lambda: lines(path) == ["started"])
        until_renewed(url, 4)  # Each renewal takes a third of the lease.
        release(path)
        eventually(lambda: "done" in lines(path))
    assert lines(path) == ["started", "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_worker_lets_its_job_finish(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "notes"
    enqueue(note, str(path))
    with working(redis_url, url) as worker:
        eventually(lambda: lines(path) == ["started"])
        worker.send_signal(number)
        release(path)
        assert worker.wait(DEADLINE_SECONDS) == 0
    assert lines(path) == ["started", "done"]
    assert count_of_jobs(url) == 0


def test_interrupted_job_runs_in_the_next_worker(
    enqueue: Enqueue, redis_url: str, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    enqueue(note, str(path))
    with working(redis_url, url, TEST_STOP_SECONDS="0.1") as worker:
        eventually(lambda: lines(path) == ["started"])
        worker.send_signal(signal.SIGTERM)
        wait_for_line(worker, "was interrupted and will run again")
        assert worker.wait(DEADLINE_SECONDS) == 0
    release(path)
    with working(redis_url, url):
        eventually(lambda: lines(path) == ["started", "started", "done"])


def test_worker_without_redis_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    get_settings.cache_clear()
    result = CliRunner().invoke(cli, ["worker"])
    assert result.exit_code == 1
    assert "REDIS_URL is not set" in result.output
