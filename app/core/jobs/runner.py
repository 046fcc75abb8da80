"""The runner of queued jobs.

A slice lists its jobs in JOBS of its `jobs.py`, each an `async def job(resources, *arguments)`.
Without REDIS_URL, the server's processes run them; with it, `app worker` does. An event announces
new jobs. Since an event can be lost, a runner also reads the queue every POLL_SECONDS.
"""

import asyncio
import inspect
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from random import uniform

from app.core.context import request_id_var
from app.core.database.models import utc_now
from app.core.database.unit_of_work import Database, UnitsOfWork
from app.core.errors import Unavailable
from app.core.jobs.lanes import LaneMemory
from app.core.jobs.queue import MAX_ERROR, QUEUED_TOPIC, Backlog, JobRepository, QueuedJob
from app.core.jobs.schedule import Schedules, schedule_of
from app.core.realtime.broadcast import EVENTS_LOST, Broadcast
from app.core.resources import Resources

Job = Callable[..., Awaitable[None]]

MAX_RUNNING_JOBS = 10  # without a lane
POLL_SECONDS = 5
LEASE = timedelta(seconds=60)
MIN_RETRY_DELAY, MAX_RETRY_DELAY = timedelta(seconds=2), timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=1)
STOP_SECONDS = 10
TRANSIENT_ERRORS = (OSError, Unavailable)  # After others, a job is not retried by itself.
logger = logging.getLogger("app.jobs")


class JobRunner:
    """Leases jobs and runs them, up to MAX_RUNNING_JOBS at a time.

    Beside these it runs one job of each of up to MAX_RUNNING_LANES lanes. Those whose last job was
    slow take at most half of these places.
    """

    resources: Resources  # Each job gets them. They are set later, since they include the runner.

    def __init__(self, jobs: Iterable[Job], database: Database, broadcast: Broadcast) -> None:
        self._jobs = jobs_by_name(jobs)
        self._units = UnitsOfWork(JobRepository, database)
        self.schedules = Schedules(
            {name: cron for name, job in self._jobs.items() if (cron := schedule_of(job))}, database
        )
        self._broadcast = broadcast
        self._lanes = LaneMemory()
        self._running = dict[asyncio.Task[None], QueuedJob]()
        self._starting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    async def work(self) -> None:
        """Run jobs until SIGTERM or SIGINT. Call `close` afterwards."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self.start()
        logger.info("The worker is ready")
        await stop.wait()

    async def close(self) -> None:
        """Wait up to STOP_SECONDS for the running jobs, and leave the others to another runner."""
        if self._loop is None:
            return
        self._is_closing = True
        self._wake.set()
        # A cancelled transaction on SQLite is ended by the driver's thread, which may do so after
        # the event loop is closed, and then fails.
        await asyncio.wait([self._loop], timeout=STOP_SECONDS)
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_SECONDS)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running)

    async def backlog(self) -> Backlog:
        async with self._units.reading() as queue:
            return await queue.backlog()

    async def drain(self) -> None:
        """Run the due jobs, and those that they enqueue, until there are no more."""
        while await self._start_due_jobs() or self._running:
            if self._running:
                await asyncio.wait(self._running)

    async def _run(self) -> None:
        with (
            self._broadcast.subscribed(QUEUED_TOPIC, self._wake_up),
            self._broadcast.subscribed(EVENTS_LOST, self._wake_up),
        ):
            renewal = asyncio.create_task(self._renew_leases())
            try:
                await self._start_jobs_forever()
            finally:
                renewal.cancel()

    def _wake_up(self, _: object = None) -> None:
        self._wake.set()

    async def _start_jobs_forever(self) -> None:
        is_unavailable = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            if self._is_closing:
                return
            self._wake.clear()
            try:
                await self.schedules.enqueue_due()
                await self._start_due_jobs()
                is_unavailable = False
            except Exception as error:  # noqa: BLE001 - the loop must continue
                if not is_unavailable:  # Log it once, not every POLL_SECONDS.
                    logger.error("The queue of jobs cannot be read: %s", error)
                is_unavailable = True

    async def _start_due_jobs(self) -> int:
        """Start as many due jobs as there are free slots, and return their number.

        A call waits for the one before it, whose jobs are leased and do not run yet. Otherwise
        `drain` would return before they have run, and both would fill the same slots.
        """
        async with self._starting:
            return await self._fill_free_slots()

    async def _fill_free_slots(self) -> int:
        busy_lanes = {job.lane for job in self._running.values() if job.lane is not None}
        free = MAX_RUNNING_JOBS - (len(self._running) - len(busy_lanes))
        lanes = self._lanes.free(busy_lanes)
        if not free and not lanes.total:
            return 0
        async with self._units.reading() as queue:  # On SQLite, a writer would wait for others.
            if not await queue.has_due(self._jobs, lanes):
                return 0
        leased = list[QueuedJob]()
        async with self._units.transaction() as queue:
            if free:
                leased += await queue.lease_due(self._jobs, free, LEASE)
            leased += await queue.lease_lanes(self._jobs, lanes, LEASE)
        for job in leased:
            task = asyncio.create_task(self._run_one(job))
            self._running[task] = job
            task.add_done_callback(self._on_done)
        return len(leased)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()  # There is a free slot.

    async def _run_one(self, job: QueuedJob) -> None:
        request_id_var.set(job.request_id)
        label = f"{job.name} ({job.id})"  # without the arguments, which may be personal data
        started = time.monotonic()
        try:
            try:
                await self._jobs[job.name](self.resources, *job.arguments)
            finally:  # The changes of the queue that follow take time as well.
                seconds = time.monotonic() - started
        except asyncio.CancelledError:  # by `close`
            logger.warning("Job %s was interrupted and will run again", label)
            await self._update(label, lambda queue: queue.postpone(job, timedelta(0), None))
        except TRANSIENT_ERRORS as error:
            await self._retry_later(label, job, reason_of(error))
            await self._note_run(job, seconds, reason_of(error))
        except Exception as error:
            logger.exception("Job %s failed", label)
            reason = reason_of(error)
            await self._update(label, lambda queue: queue.fail(job, reason))
            await self._note_run(job, seconds, reason)
        else:
            logger.info("Job %s succeeded", label)
            await self._update(label, lambda queue: queue.finish(job))
            await self._note_run(job, seconds, None)

    async def _note_run(self, job: QueuedJob, seconds: float, error: str | None) -> None:
        if job.lane is not None:
            self._lanes.note(job.lane, seconds)
        try:
            await self.schedules.note_run(
                job.name, round(seconds * 1000), error and error[:MAX_ERROR]
            )
        except Exception as failure:  # noqa: BLE001 - the job is done, whatever it was
            logger.error("The outcome of the schedule %s is not stored: %s", job.name, failure)

    async def _retry_later(self, label: str, job: QueuedJob, reason: str) -> None:
        if utc_now() - job.created_at > GIVE_UP_AFTER:
            logger.error("Job %s failed for the last time: %s", label, reason)
            return await self._update(label, lambda queue: queue.fail(job, reason))
        pause = retry_delay(job.attempts)
        logger.warning("Job %s failed, attempt %d: %s", label, job.attempts, reason)
        await self._update(label, lambda queue: queue.postpone(job, pause, reason))
        asyncio.get_running_loop().call_later(pause.total_seconds(), self._wake.set)

    async def _update(self, label: str, change: Callable[[JobRepository], Awaitable[None]]) -> None:
        """Change the queue. If that fails, the job runs again when its lease has ended."""
        try:
            async with self._units.transaction() as queue:
                await change(queue)
        except Exception as error:  # noqa: BLE001 - the job is done, whatever it was
            logger.error("The outcome of job %s is not stored, it will run again: %s", label, error)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            if ids := [job.id for job in self._running.values()]:
                await self._update("leases", partial(JobRepository.renew, ids=ids, lease=LEASE))


def jobs_by_name(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return the jobs by their names. Raise ValueError for a duplicate, or no async function."""
    by_name = dict[str, Job]()
    for job in jobs:
        name = job.__name__
        if name in by_name or not inspect.iscoroutinefunction(job):
            raise ValueError(f"{name} is not an async function, or two jobs have this name")
        by_name[name] = job
    return by_name


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def retry_delay(attempts: int) -> timedelta:
    """Return a delay that doubles with each attempt, with jitter to spread simultaneous retries."""
    doubled = MIN_RETRY_DELAY * 2.0 ** min(attempts - 1, 20)
    return min(MAX_RETRY_DELAY, doubled) * uniform(0.5, 1)  # noqa: S311 - it is not a secret
