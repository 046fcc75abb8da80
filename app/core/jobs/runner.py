"""Runs the queued jobs. A slice lists its jobs in JOBS of its `jobs.py`:
`async def job(resources, *arguments)`.

Without REDIS_URL the server's processes run them, and with it `app worker`. The queue is a table,
so that nothing is lost when a process dies. An event tells a runner of new jobs. An event can be
lost, so a runner also looks every POLL_SECONDS.
"""

import asyncio
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from random import uniform

from app.core.context import request_id_var
from app.core.database.models import utc_now
from app.core.database.repository import UnitsOfWork
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from app.core.jobs.queue import QUEUED_TOPIC, JobRepository, QueuedJob
from app.core.jobs.schedule import Schedules, schedule_of
from app.core.realtime.broadcast import EVENTS_LOST, Broadcast
from app.core.resources import Resources

Job = Callable[..., Awaitable[None]]

AT_ONCE = 10
POLL_SECONDS = 5
LEASE = timedelta(seconds=60)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=1)
STOP_SECONDS = 10
TRANSIENT = (OSError, Unavailable)  # the only errors after which a job is tried again by itself
logger = logging.getLogger("app.jobs")


class JobRunner:
    """Claims jobs of an application, or of a worker, and runs AT_ONCE of them at a time."""

    resources: Resources  # which each job is given; they are made after the runner

    def __init__(self, jobs: Iterable[Job], database: Database, broadcast: Broadcast) -> None:
        self._jobs = jobs_by_name(jobs)
        self._units = UnitsOfWork(JobRepository, database)
        self._schedules = Schedules(
            {name: cron for name, job in self._jobs.items() if (cron := schedule_of(job))}, database
        )
        self._broadcast = broadcast
        self._running = dict[asyncio.Task[None], QueuedJob]()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    async def work(self) -> None:
        """Run jobs until SIGTERM or SIGINT; `close` is to follow."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.start()
        logger.info("The worker is ready")
        await stop.wait()

    async def close(self) -> None:
        """Wait for the running jobs, for STOP_SECONDS. The others are left for another runner."""
        if self._loop is None:
            return
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_SECONDS)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running)

    async def drain(self) -> None:
        """Run what is due, and what that queues in turn, until nothing is left."""
        while await self._claim() or self._running:
            if self._running:
                await asyncio.wait(self._running)

    async def _run(self) -> None:
        with (
            self._broadcast.subscribed(QUEUED_TOPIC, self._look),
            self._broadcast.subscribed(EVENTS_LOST, self._look),
        ):
            renewal = asyncio.create_task(self._renew_leases())
            try:
                await self._claim_for_ever()
            finally:
                renewal.cancel()

    def _look(self, _: object = None) -> None:
        self._wake.set()

    async def _claim_for_ever(self) -> None:
        is_away = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._schedules.enqueue_due()
                await self._claim()
                is_away = False
            except Exception as error:  # noqa: BLE001 - it has to go on, whatever it was
                if not is_away:  # not again every POLL_SECONDS
                    logger.error("The queue of jobs cannot be read: %s", error)
                is_away = True

    async def _claim(self) -> int:
        """Start jobs that are due, as many as there are free places; return their number."""
        free = AT_ONCE - len(self._running)
        if not free:
            return 0
        async with self._units.reading() as queue:  # on SQLite, writing waits for the others
            if not await queue.has_due(self._jobs):
                return 0
        async with self._units.transaction() as queue:
            claimed = await queue.claim(self._jobs, free, LEASE)
        for job in claimed:
            task = asyncio.create_task(self._run_one(job))
            self._running[task] = job
            task.add_done_callback(self._forget)
        return len(claimed)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()  # there is a free place

    async def _run_one(self, job: QueuedJob) -> None:
        request_id_var.set(job.request_id)
        label = f"{job.name} ({job.id})"  # its arguments may be addresses
        try:
            await self._jobs[job.name](self.resources, *job.arguments)
        except asyncio.CancelledError:  # by `close`
            logger.warning("Job %s was interrupted and will run again", label)
            await self._settle(label, lambda queue: queue.postpone(job, timedelta(0), None))
        except TRANSIENT as error:
            await self._try_again(label, job, error)
        except Exception as error:
            logger.exception("Job %s failed", label)
            reason = f"{type(error).__name__}: {error}"
            await self._settle(label, lambda queue: queue.fail(job, reason))
        else:
            logger.info("Job %s succeeded", label)
            await self._settle(label, lambda queue: queue.finish(job))

    async def _try_again(self, label: str, job: QueuedJob, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if utc_now() - job.created_at > GIVE_UP_AFTER:
            logger.error("Job %s failed for the last time: %s", label, reason)
            return await self._settle(label, lambda queue: queue.fail(job, reason))
        pause = pause_after(job.attempts)
        logger.warning("Job %s failed, attempt %d: %s", label, job.attempts, reason)
        await self._settle(label, lambda queue: queue.postpone(job, pause, reason))
        asyncio.get_running_loop().call_later(pause.total_seconds(), self._wake.set)

    async def _settle(self, label: str, settle: Callable[[JobRepository], Awaitable[None]]) -> None:
        """Note the outcome. Where that fails the job runs again when its lease has ended."""
        try:
            async with self._units.transaction() as queue:
                await settle(queue)
        except Exception as error:  # noqa: BLE001 - the job is done, whatever it was
            logger.error("The outcome of job %s is not stored, it will run again: %s", label, error)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            if ids := [job.id for job in self._running.values()]:
                await self._settle("leases", partial(JobRepository.renew, ids=ids, lease=LEASE))


def jobs_by_name(jobs: Iterable[Job]) -> dict[str, Job]:
    """Raise ValueError when one is no async function, or two have one name."""
    named = dict[str, Job]()
    for job in jobs:
        name = job.__name__
        if name in named or not inspect.iscoroutinefunction(job):
            raise ValueError(f"{name} is not an async function, or two jobs have this name")
        named[name] = job
    return named


def pause_after(attempts: int) -> timedelta:
    """Return a pause that doubles with each attempt. Chance spreads what failed at once."""
    doubled = FIRST_PAUSE * 2.0 ** min(attempts - 1, 20)
    return min(LONGEST_PAUSE, doubled) * uniform(0.5, 1)  # noqa: S311 - nobody gains from guessing it
