"""Metrics for Prometheus, which each process serves about itself, on a port of its own.

So the workers share no files, and Prometheus notices one that hangs. Without METRICS_ENABLED, this
module, the middleware and prometheus-client are not imported.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from anyio import to_thread
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from app.core.database.unit_of_work import UnitsOfWork
from app.core.jobs.queue import JobCounts, JobRepository
from app.core.observability.metrics_server import start_server
from app.core.resources import Resources

HEARTBEAT_SECONDS = 0.25
LAG_BUCKETS = (0.005, 0.025, 0.1, 0.25, 1, 5)  # seconds
JOBS_SECONDS = 15  # between two looks at the queue of jobs
UNKNOWN = float("nan")
logger = logging.getLogger("app.metrics")


@asynccontextmanager
async def serving_metrics(
    resources: Resources, requests: CollectorRegistry | None = None
) -> AsyncIterator[None]:
    """Serve the metrics of the process, and those of its requests if it serves any.

    A thread serves them, so that they can be read while the event loop is busy.
    """
    registry = CollectorRegistry()
    if requests:
        registry.register(requests)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    add_gauges(registry, resources)
    jobs = JobGauges(registry)
    server = await to_thread.run_sync(start_server, resources.settings, registry)
    tasks = [
        asyncio.create_task(measure_lag(registry)),
        asyncio.create_task(jobs.update_forever(resources)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server:
            await to_thread.run_sync(server.stop)


def add_gauges(registry: CollectorRegistry, resources: Resources) -> None:
    """Add the gauges whose values are looked up whenever the metrics are read."""

    def add(name: str, description: str, value: Callable[[], float]) -> None:
        Gauge(name, description, registry=registry).set_function(value)

    add("process_threads", "Threads that Python has started.", threading.active_count)
    add("websockets_open", "Open WebSockets.", lambda: resources.sockets.count)
    cache = resources.session_cache
    add("session_cache_entries", "Verified sessions and API keys in memory.", cache.size)
    add("session_cache_active", "1 while sessions are verified in memory.", lambda: cache.is_held)
    sizes, in_use, waiting = (
        Gauge(f"database_pool_{name}", description, ["pool"], registry=registry)
        for name, description in (
            ("size", "Connections to the database that the process may open."),
            ("in_use", "Connections to the database that are in use."),
            ("waiting", "Tasks that wait for a connection to the database."),
        )
    )
    for name, pool in resources.database.pools.items():
        sizes.labels(name).set(pool.size())
        in_use.labels(name).set_function(pool.in_use)
        waiting.labels(name).set_function(pool.waiting)


async def measure_lag(registry: CollectorRegistry) -> None:
    lag = Histogram(
        "event_loop_lag_seconds",
        "Delay with which the event loop runs what is due.",
        buckets=LAG_BUCKETS,
        registry=registry,
    )
    while True:
        due = time.perf_counter() + HEARTBEAT_SECONDS
        await asyncio.sleep(HEARTBEAT_SECONDS)
        lag.observe(max(0, time.perf_counter() - due))


class JobGauges:
    """The gauges of the queue of jobs, which all processes share."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge("jobs", "Jobs in the queue.", ["state"], registry=registry)
        self._oldest = Gauge(
            "jobs_oldest_due_seconds",
            "Time for which the first of the due jobs has been due.",
            registry=registry,
        )

    async def update_forever(self, resources: Resources) -> None:
        units = UnitsOfWork(JobRepository, resources.database)
        while True:
            try:
                async with asyncio.timeout(JOBS_SECONDS), units.reading() as queue:
                    self._set(await queue.counts())
            except Exception as error:  # noqa: BLE001 - the loop must continue
                logger.debug("The jobs were not counted: %s", error)
                self._set(JobCounts(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN))
            await asyncio.sleep(JOBS_SECONDS)

    def _set(self, counts: JobCounts) -> None:
        self._jobs.labels("due").set(counts.due)
        self._jobs.labels("later").set(counts.later)
        self._jobs.labels("failed").set(counts.failed)
        self._oldest.set(counts.oldest_due_seconds)
