"""Work after the answer. A slice's `jobs.py` lists its own in JOBS: `async def job(state, *ids)`.

Without REDIS_URL they run in the server's process, and with it in `app worker`. A job may run twice
(a worker was killed), so it looks at what is stored before it acts. It is tried again while
something is away; after the last try, or on any other error, the log has it and that is its end.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import stamina
from fastapi import Depends, Request
from starlette.datastructures import State

from app.core.errors import Unavailable
from app.core.middleware import request_id_var

if TYPE_CHECKING:  # a third of a second, that only a running app is to wait
    from taskiq import InMemoryBroker

Job = Callable[..., Awaitable[None]]

AT_ONCE = 10
ATTEMPTS = 8  # over two minutes and more
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1, 60
ENQUEUE_SECONDS = 1
STOP_SECONDS = 10
AWAY = (OSError, Unavailable)
logger = logging.getLogger("app.jobs")


class Jobs:
    """Belongs to one app, or to one worker; made outside of the event loop, since it imports."""

    def __init__(self, jobs: Iterable[Job], state: State) -> None:
        from taskiq.exceptions import SendTaskError

        self._broker = in_process()
        self._away = (SendTaskError, TimeoutError)
        self._state = state
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running = dict[asyncio.Task[Any], str]()
        self._tasks: dict[Job, Any] = {}
        names = set[str]()
        for job in jobs:
            name = f"{job.__module__}.{job.__name__}"
            if name in names or not inspect.iscoroutinefunction(job):
                raise ValueError(f"{name} is not an async function, or listed in JOBS twice")
            names.add(name)
            self._tasks[job] = self._broker.register_task(self._runner(name, job), task_name=name)

    async def enqueue(self, job: Job, *ids: int | str) -> None:
        """To be called after the commit. A queue that is away is an error in the log and not in
        the answer: what the request was for is done."""
        task = self._tasks[job]
        try:
            async with asyncio.timeout(ENQUEUE_SECONDS):
                await task.kiq(request_id_var.get(), *ids)
        except self._away as error:
            cause = error.__cause__ or error
            logger.error("Job %s%r is not queued: %r", task.task_name, ids, cause)

    async def close(self) -> None:
        """Waits for what is running, for STOP_SECONDS. The rest is cut off, and the log has it."""
        ended = asyncio.create_task(self._broker.wait_all())
        await asyncio.wait([ended], timeout=STOP_SECONDS)
        for task in self._running:
            task.cancel()
        await ended
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
            except asyncio.CancelledError:  # by close(), and nothing follows
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
                        await job(self._state, *ids)
                    except AWAY as error:
                        logger.warning("Job %s, attempt %d: %r", label, attempt.num, error)
                        raise


def in_process() -> "InMemoryBroker":
    from taskiq import InMemoryBroker
    from taskiq.result_backends.dummy import DummyResultBackend

    broker = InMemoryBroker(sync_tasks_pool_size=1, cast_types=False)
    return broker.with_result_backend(DummyResultBackend())  # nobody asks for the results


async def get_jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


JobsDep = Annotated[Jobs, Depends(get_jobs)]
