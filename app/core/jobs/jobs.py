"""Work after the response. A slice lists its jobs in JOBS of its `jobs.py`:
`async def job(resources, *ids)`.

Without REDIS_URL they run in the server's process, and with it in `app worker`. A job may run twice
(a worker was killed), so it looks at what is stored before it acts. It is tried again while
something is away; after the last try, or on any other error, the log has it and that is its end.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import stamina
from anyio import to_thread

from app.core.context import request_id_var
from app.core.errors import Unavailable
from app.core.resources import Resources

if TYPE_CHECKING:  # a third of a second, that only a running app is to wait
    from taskiq import InMemoryBroker

    from app.core.jobs.redis_queue import RedisQueue

Job = Callable[..., Awaitable[None]]

AT_ONCE = 10
ATTEMPTS = 8  # over two minutes and more
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1, 60
ENQUEUE_SECONDS = 1
STOP_SECONDS = 10
AWAY = (OSError, Unavailable)
logger = logging.getLogger("app.jobs")


class Jobs:
    """Belongs to one app, or to one worker."""

    resources: Resources  # which each job is given: they are made after this

    def __init__(self, jobs: Iterable[Job], redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running = dict[asyncio.Task[Any], str]()
        self._jobs = dict[str, Job]()
        for job in jobs:
            name = job.__name__
            if name in self._jobs or not inspect.iscoroutinefunction(job):
                raise ValueError(f"{name} is not an async function, or two jobs have this name")
            self._jobs[name] = job
        self._opening = threading.Lock()
        self._broker: Any = None
        self._tasks = dict[str, Any]()

    def open(self) -> None:
        """Before the first job, outside of the event loop: it imports."""
        with self._opening:
            if self._broker is None:
                broker = open_broker(self._redis_url)
                for name, job in self._jobs.items():
                    run = self._runner(name, job)
                    self._tasks[name] = broker.register_task(run, task_name=name)
                self._broker = broker

    async def enqueue(self, name: str, *ids: int | str) -> None:
        """By name, since a service cannot import the jobs that call it. After the commit: a queue
        that is away is an error in the log and not in the answer, since the work is done."""
        if self._broker is None:
            await to_thread.run_sync(self.open)
        from taskiq.exceptions import SendTaskError

        task = self._tasks[name]
        try:
            async with asyncio.timeout(ENQUEUE_SECONDS):
                await task.kiq(request_id_var.get(), *ids)
        except (SendTaskError, TimeoutError) as error:
            cause = error if isinstance(error, TimeoutError) else error.__cause__
            what = f"{type(cause).__name__}: {cause}"
            logger.error("Job %s%r may be lost, not queued: %s", task.task_name, ids, what)

    async def work(self) -> None:
        """Runs what is queued on Redis until SIGTERM or SIGINT; close() is to follow."""
        await to_thread.run_sync(self.open)
        await self._broker.work(STOP_SECONDS)  # a RedisQueue: `app worker` has seen to that

    async def wait(self) -> None:
        """For what runs in this process, and for what that queues in turn."""
        if self._broker is None:
            return
        await self._broker.wait_all()
        while tasks := getattr(self._broker, "_running_tasks", None):  # InMemoryBroker's
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # for those that are done to leave the set

    async def close(self) -> None:
        """Waits for what is running, for STOP_SECONDS. The rest is cut off, and the log has it."""
        ended = asyncio.create_task(self.wait())
        await asyncio.wait([ended], timeout=STOP_SECONDS)
        for task in self._running:
            task.cancel()
        await asyncio.wait([ended, *self._running])
        if self._broker:
            await self._broker.shutdown()

    def _runner(self, name: str, job: Job) -> Callable[..., Awaitable[None]]:
        async def run(request_id: str | None, *ids: int | str) -> None:
            request_id_var.set(request_id)  # the task is the job's own, and so is its context
            task = asyncio.current_task()
            assert task  # noqa: S101 - for mypy: this is a coroutine
            label = self._running[task] = f"{name}{ids!r}"
            try:
                await self._try(label, job, ids)
                logger.info("Job %s is done", label)
            except asyncio.CancelledError:  # by close(): nothing follows, and on Redis it stays
                logger.error("Job %s was cut off by the stop", label)
            except Exception:
                logger.exception("Job %s has failed", label)
            finally:
                del self._running[task]

        return run

    async def _try(self, label: str, job: Job, ids: tuple[int | str, ...]) -> None:
        async for attempt in stamina.retry_context(
            on=AWAY,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
        ):
            with attempt:
                async with self._slots:  # not held between the attempts
                    try:
                        await job(self.resources, *ids)
                    except AWAY as error:
                        logger.warning("Job %s, attempt %d: %r", label, attempt.num, error)
                        raise


def open_broker(redis_url: str | None) -> "InMemoryBroker | RedisQueue":
    if redis_url:
        from app.core.jobs.redis_queue import RedisQueue

        return RedisQueue(redis_url)
    from taskiq import InMemoryBroker
    from taskiq.result_backends.dummy import DummyResultBackend

    broker = InMemoryBroker(sync_tasks_pool_size=1, cast_types=False)
    return broker.with_result_backend(DummyResultBackend())  # nobody asks for the results
