"""Measures the steps, each in a server process of its own, on a temporary database."""

import asyncio
import os
import platform
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from subprocess import PIPE

from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.translation import mark
from app.features.lab.repository import LabDatabase, temporary_database
from app.features.lab.schemas import (
    STEPS,
    Event,
    Measurement,
    MeasurementDone,
    Operation,
    Plan,
    Progress,
    Results,
    ServerOptions,
)
from app.features.lab.service.load import request_json, run_load
from app.features.lab.service.vitals import VitalsRead

STOP_SECONDS = 10


async def measure(settings: Settings, plan: Plan) -> AsyncGenerator[Event, None]:
    """Run the plan. Yield its progress, each measurement, and the results at the end.

    The server and the database are removed even if the run fails or is canceled.
    """
    total = len(STEPS) * len(plan.rounds)
    measurements: list[Measurement] = []
    check_drivers(settings)
    async with temporary_database(settings) as database:
        for step in STEPS:
            # Each step has its own process, so that it starts without threads and connections.
            async with running_server(settings, database, plan.query_ms) as port:
                for operation, clients in plan.rounds:
                    done = len(measurements)
                    yield Progress(
                        step=step, operation=operation, clients=clients, done=done, total=total
                    )
                    result = await measure_step(port, step, operation, clients, plan.seconds)
                    measurements.append(result)
                    yield MeasurementDone(measurement=result)
        yield Results(
            measured_at=datetime.now(UTC),
            machine=await asyncio.to_thread(describe_machine, settings, database),
            plan=plan,
            measurements=measurements,
        )


def check_drivers(settings: Settings) -> None:
    if settings.database.get_backend_name() == "postgresql" and not find_spec("psycopg"):
        raise Unavailable(mark("The lab's sync driver is missing: pip install 'psycopg[binary]'"))


async def measure_step(
    port: int, step: str, operation: Operation, clients: int, seconds: float
) -> Measurement:
    path = f"/lab/{step}/{operation}"
    await take_vitals(port)
    await request_json(port, "GET", path)
    queries = (await take_vitals(port)).queries  # of a single request, before the load
    result = await run_load(port, path, clients, seconds)
    vitals = await take_vitals(port)
    return Measurement(
        step=step,
        operation=operation,
        clients=clients,
        queries=queries,
        requests_per_second=result.requests_per_second,
        p50_ms=percentile(result.latencies, 50),
        p99_ms=percentile(result.latencies, 99),
        light_p99_ms=percentile(result.light_latencies, 99),
        loop_lag_ms=vitals.loop_lag_ms,
        threads=vitals.threads,
        errors=result.errors,
    )


async def take_vitals(port: int) -> VitalsRead:
    return VitalsRead.model_validate(await request_json(port, "POST", "/lab/vitals"))


def percentile(seconds: Sequence[float], percent: int) -> float | None:
    """Return a percentile of the durations, in milliseconds."""
    if len(seconds) < 2:
        return 1000 * seconds[0] if seconds else None
    return 1000 * quantiles(seconds, n=100, method="inclusive")[percent - 1]


@asynccontextmanager
async def running_server(
    settings: Settings, database: LabDatabase, query_ms: float, port: int = 0
) -> AsyncIterator[int]:
    """Start a server process and yield its port.

    The server stops when its standard input closes, so it also stops if this process dies.
    """
    options = ServerOptions(
        database_url=database.url,
        query_ms=query_ms,
        pool_size=database.connections,
        thread_limit=settings.thread_limit,
        port=port,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.features.lab.server",
        env=os.environ | {ServerOptions.VARIABLE: options.model_dump_json()},
        stdin=PIPE, stdout=PIPE, start_new_session=True,  # Ctrl-C is handled by this process
    )  # fmt: skip
    assert isinstance(process.stdin, asyncio.StreamWriter)  # noqa: S101 - because of PIPE
    assert isinstance(process.stdout, asyncio.StreamReader)  # noqa: S101 - because of PIPE
    try:
        line = await process.stdout.readline()
        if not line:
            raise Unavailable(mark("The lab's server did not start."))
        yield int(line)
    except BaseException:  # nobody needs the server's results any more
        process.kill()
        raise
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def describe_machine(settings: Settings, database: LabDatabase) -> dict[str, str | int]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return {
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "system": platform.platform(),
        "python": platform.python_version(),
        "fastapi": version("fastapi"),
        "sqlalchemy": version("sqlalchemy"),
        "database": database.system,
        "connections": database.connections,
        "threads": settings.thread_limit,
    }
