import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
import stamina

from app.core.context import request_id_var
from app.core.errors import Unavailable
from app.core.jobs import jobs as core_jobs
from app.core.jobs.jobs import Jobs
from app.resources import Resources
from tests.conftest import make_settings, running
from tests.greeter import add_greeter
from tests.greeter.jobs import greet
from tests.smtp import Inbox, receiving
from tests.waiting import Clock, settled


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' own slice is found as the others are, and nobody waits between the attempts."""
    add_greeter(monkeypatch)
    with stamina.set_testing(True, attempts=core_jobs.ATTEMPTS):
        yield


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with receiving() as inbox:
        yield inbox


async def make_jobs(*jobs: Any) -> Jobs:
    made = await asyncio.to_thread(Jobs, jobs, None)  # it imports
    made.resources = cast(Resources, object())
    return made


async def test_a_job_sends_a_mail(database_url: str, inbox: Inbox) -> None:
    async with running(make_settings(database_url, redis_url=None, smtp_url=inbox.url)) as app:
        await app.state.resources.jobs.enqueue(greet.__name__, "ann", 7)
    (message,) = inbox.messages  # the end of the lifespan has waited for it
    assert message["To"] == "ann@example.com"


async def test_a_server_that_is_away_twice(
    database_url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answers = ["450 not now", "451 not yet"]
    async with running(make_settings(database_url, redis_url=None, smtp_url=inbox.url)) as app:
        await app.state.resources.jobs.enqueue(greet.__name__, "ann", 7)
    assert len(inbox.messages) == 1
    retries = [each for each in caplog.messages if "attempt" in each]
    assert len(retries) == 2
    assert retries[0].startswith("Job greet('ann', 7), attempt 1: Unavailable(")


async def test_what_cannot_succeed_is_tried_once(
    database_url: str, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answers = ["550 nobody here"]
    async with running(make_settings(database_url, redis_url=None, smtp_url=inbox.url)) as app:
        await app.state.resources.jobs.enqueue(greet.__name__, "ann", 7)
    assert inbox.messages == []
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [each.getMessage() for each in errors] == ["Job greet('ann', 7) has failed"]
    assert not [each for each in caplog.messages if "attempt" in each]


async def test_the_last_try_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    tries = list[int]()

    async def fail(resources: Resources, number: int) -> None:
        tries.append(number)
        raise Unavailable("It is away.")

    jobs = await make_jobs(fail)
    await jobs.enqueue(fail.__name__, 7)
    await jobs.close()
    assert tries == [7] * core_jobs.ATTEMPTS
    assert len([each for each in caplog.messages if "has failed" in each]) == 1


async def test_an_app_waits_between_the_attempts(clock: Clock) -> None:
    tries = 0

    async def fail_once(resources: Resources) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError

    with stamina.set_testing(False):
        jobs = await make_jobs(fail_once)
        await jobs.enqueue(fail_once.__name__)
        close = asyncio.create_task(jobs.close())  # a retry that is due is waited for too
        await settled()
        assert tries == 1
        await clock.advance(core_jobs.FIRST_WAIT_SECONDS + 1)  # and what is added by chance
        await close
    assert tries == 2


async def test_what_takes_too_long_is_cut_off(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    done = list[int]()

    async def work(resources: Resources, seconds: int) -> None:
        await asyncio.sleep(seconds)
        done.append(seconds)

    jobs = await make_jobs(work)
    for seconds in (60, 0, 60):
        await jobs.enqueue(work.__name__, seconds)
    close = asyncio.create_task(jobs.close())
    await settled()
    await clock.advance(core_jobs.STOP_SECONDS)
    await close
    assert done == [0]
    cut_off = [each for each in caplog.messages if "cut off" in each]
    assert len(cut_off) == 2
    assert "work(60,)" in cut_off[0]


async def test_so_many_at_once() -> None:
    now = most = 0

    async def work(resources: Resources) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    jobs = await make_jobs(work)
    for _ in range(50):
        await jobs.enqueue(work.__name__)
    await jobs.close()
    assert (now, most) == (0, core_jobs.AT_ONCE)


async def test_the_log_has_the_id_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    seen = list[str | None]()

    async def look(resources: Resources) -> None:
        seen.append(request_id_var.get())

    jobs = await make_jobs(look)
    request_id_var.set("abc")
    await jobs.enqueue(look.__name__)
    request_id_var.set("another")
    await jobs.close()
    assert seen == ["abc"]


async def test_two_apps_share_nothing(database_url: str) -> None:
    seen = list[Resources]()

    async def look(resources: Resources) -> None:
        seen.append(resources)

    one, two = await make_jobs(look), await make_jobs(look)
    await one.enqueue(look.__name__)
    await two.enqueue(look.__name__)
    await one.close()
    await two.close()
    assert seen == [one.resources, two.resources]
    assert seen[0] is not seen[1]


async def test_a_wrong_list_stops_the_start() -> None:
    async def job(resources: Resources) -> None: ...

    def sync(resources: Resources) -> None: ...

    for wrong in ([job, job], [sync]):
        with pytest.raises(ValueError, match="is not an async function, or two jobs"):
            await make_jobs(*wrong)


async def test_what_is_no_job_cannot_be_queued() -> None:
    async def job(resources: Resources) -> None: ...

    jobs = await make_jobs(greet)
    with pytest.raises(KeyError):
        await jobs.enqueue(job.__name__)
    await jobs.close()
