"""Jobs with a real Redis, and with real worker processes where one has to die.

The queue does not know which database there is.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from app.cli import cli
from app.core.config import get_settings
from app.core.context import request_id_var
from app.core.jobs import jobs as core_jobs
from app.core.jobs.jobs import Job, Jobs
from tests.conftest import only
from tests.greeter.jobs import JOBS, greet, may_end, note
from tests.isolation import DEADLINE_SECONDS
from tests.smtp import receiving
from tests.waiting import eventually
from tests.worker import wait_for_line, working


@asynccontextmanager
async def queueing(redis_url: str) -> AsyncIterator[Jobs]:
    """What a server has: it queues, and runs nothing."""
    jobs = await asyncio.to_thread(Jobs, JOBS, redis_url)
    yield jobs
    await jobs.close()


def enqueue(redis_url: str, job: Job, *ids: int | str) -> None:
    async def queue() -> None:
        async with queueing(redis_url) as jobs:
            await jobs.enqueue(job.__name__, *ids)

    asyncio.run(queue())


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def until_renewed(redis: Redis) -> None:
    """Wait until the worker has said once more that it is at work on its one job."""

    def idle_ms() -> int:
        (entry,) = redis.xpending_range("jobs", "workers", "-", "+", 1)
        return int(entry["time_since_delivered"])

    longest = 0

    def is_renewed() -> bool:
        nonlocal longest
        before, longest = longest, max(longest, now := idle_ms())
        return now < before

    eventually(is_renewed)


@only("sqlite")
def test_what_was_queued_before_the_first_worker(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    may_end(path)
    for _ in range(3):
        enqueue(redis_url, note, str(path))
    with working(redis_url, database_url), Redis.from_url(redis_url) as redis:
        eventually(lambda: lines(path).count("done") == 3)
        eventually(lambda: redis.xlen("jobs") == 0)  # nothing is kept of what is done


@only("sqlite")
async def test_a_mail_by_the_worker(redis_url: str, database_url: str) -> None:
    async with receiving() as inbox, queueing(redis_url) as jobs:
        inbox.answers = ["450 not now"]
        request_id_var.set("abc")
        await jobs.enqueue(greet.__name__, "ann", 7)

        def work() -> str:
            with working(redis_url, database_url, SMTP_URL=inbox.url) as worker:
                return wait_for_line(worker, "greet('ann', 7) is done")

        line = await asyncio.wait_for(asyncio.to_thread(work), DEADLINE_SECONDS)
    assert len(inbox.messages) == 1
    assert line.endswith("[abc]\n")


@only("sqlite")
def test_what_a_killed_worker_held_is_done_by_the_next(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    with working(redis_url, database_url) as worker:
        enqueue(redis_url, note, str(path))
        eventually(lambda: lines(path) == ["started"])
        worker.kill()
        worker.wait()
    may_end(path)
    with working(redis_url, database_url):
        eventually(lambda: lines(path) == ["started", "started", "done"])


@only("sqlite")
def test_what_takes_long_is_done_once(redis_url: str, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    enqueue(redis_url, note, str(path))
    with (
        working(redis_url, database_url),
        working(redis_url, database_url),
        Redis.from_url(redis_url) as redis,
    ):
        eventually(lambda: lines(path) == ["started"])
        for _ in range(6):  # a third of TAKE_OVER_SECONDS each
            until_renewed(redis)
        may_end(path)
        eventually(lambda: "done" in lines(path))
    assert lines(path) == ["started", "done"]


@only("sqlite")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_a_job_finish(
    redis_url: str, database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "notes"
    with working(redis_url, database_url) as worker:
        enqueue(redis_url, note, str(path))
        eventually(lambda: lines(path) == ["started"])
        worker.send_signal(number)
        may_end(path)
        assert worker.wait(DEADLINE_SECONDS) == 0
    assert lines(path) == ["started", "done"]
    with Redis.from_url(redis_url) as redis:
        assert redis.xlen("jobs") == 0


@only("sqlite")
def test_what_a_stop_cuts_off_is_not_lost(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    with working(redis_url, database_url, TEST_STOP_SECONDS="0.1") as worker:
        enqueue(redis_url, note, str(path))
        eventually(lambda: lines(path) == ["started"])
        worker.send_signal(signal.SIGTERM)
        wait_for_line(worker, "was cut off by the stop")
        assert worker.wait(DEADLINE_SECONDS) == 0
    may_end(path)
    with working(redis_url, database_url):
        eventually(lambda: lines(path) == ["started", "started", "done"])


@only("sqlite")
def test_a_worker_outlives_a_redis_that_forgets(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    with working(redis_url, database_url) as worker, Redis.from_url(redis_url) as redis:
        eventually(lambda: redis.exists("jobs"))
        redis.flushdb()
        wait_for_line(worker, "The queue is away")
        may_end(path)
        enqueue(redis_url, note, str(path))
        eventually(lambda: "done" in lines(path))


async def test_a_redis_that_is_away(unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    async with queueing(f"redis://127.0.0.1:{unused_tcp_port}") as jobs:
        await asyncio.wait_for(jobs.enqueue(greet.__name__, "ann", 7), DEADLINE_SECONDS)
    (error,) = [each for each in caplog.messages if "not queued" in each]
    assert error.startswith("Job greet('ann', 7) may be lost, not queued: ConnectionError: ")


async def test_a_redis_that_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_jobs, "ENQUEUE_SECONDS", 0.1)
    hung_up = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, queueing(f"redis://127.0.0.1:{port}") as jobs:
        await asyncio.wait_for(jobs.enqueue(greet.__name__, "ann", 7), DEADLINE_SECONDS)
        assert "may be lost, not queued: TimeoutError" in caplog.text
    await asyncio.wait_for(hung_up.wait(), DEADLINE_SECONDS)


def test_without_redis_a_worker_has_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    get_settings.cache_clear()
    result = CliRunner().invoke(cli, ["worker"])
    assert result.exit_code == 1
    assert "REDIS_URL is not set" in result.output
