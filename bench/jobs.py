"""Measures the queue of jobs: how many run in a second, and what a job adds to a request."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from bench.contenders import ROOT, Contender, Server, running_server
from bench.database import BIN, SECRET_KEY, Database, Person, temporary_database
from bench.errors import BenchError
from bench.load import Measurement, measure
from bench.outbox import QUEUED, READY
from bench.process import cores, cpu_seconds, pin
from bench.report import Table
from bench.workloads import API, NEW_ITEM, PEOPLE, Request

SECONDS_PER_POLL = 0.005
OPTIONS = ("--no-access-log", "--no-server-header", "--log-level", "warning", "--port")
COMMAND = (str(BIN / "uvicorn"), "bench.enqueue:app", *OPTIONS)
PLAIN = Contender("plain", "without webhooks", ("env", "BENCH_WITHOUT_WEBHOOKS=1", *COMMAND))
FULL = Contender("full", "as it ships", COMMAND)
WRITTEN = "SELECT count(*) FROM items"


def run(
    server_url: str, redis_url: str | None, rounds: int, seconds: int, count: int
) -> Iterator[Table]:
    with temporary_database(server_url) as database:
        yield _throughput(database, redis_url, count)
        yield _requests(database, database.add_people(PEOPLE), rounds, seconds)


def _throughput(database: Database, redis_url: str | None, count: int) -> Table:
    rows = [["in process, without Redis", *_run_jobs(database, "", count)]]
    if redis_url:
        rows.append(["in a worker, with Redis", *_run_jobs(database, redis_url, count)])
    return Table(f"{count:,} jobs that do nothing", ("runner", "jobs/s", "CPU µs a job"), rows)


def _run_jobs(database: Database, redis_url: str, count: int) -> list[str]:
    with ExitStack() as stack:
        enqueue = ("--enqueue", str(count))
        runner = stack.enter_context(_process(database, redis_url, *(() if redis_url else enqueue)))
        pin(runner.pid, cores()[0])
        _wait_for(runner, READY)
        cpu = cpu_seconds(runner.pid)
        queuing = runner
        if redis_url:
            arguments = (*enqueue, "--no-run")
            queuing = stack.enter_context(_process(database, redis_url, *arguments))
        _wait_for(queuing, QUEUED)
        started = time.perf_counter()
        while database.value("SELECT count(*) FROM jobs"):
            time.sleep(SECONDS_PER_POLL)
        taken = time.perf_counter() - started
        cpu = cpu_seconds(runner.pid) - cpu
    return [f"{count / taken:,.0f}", f"{cpu / count * 1e6:,.0f}"]


@contextmanager
def _process(
    database: Database, redis_url: str, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "test",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": database.url,
        "REDIS_URL": redis_url,
        "LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "bench.outbox", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def _wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if word in line:
            return
    raise BenchError(f"The process that runs jobs has ended before it was {word}.")


def _requests(database: Database, people: list[Person], rounds: int, seconds: int) -> Table:
    """Compare requests that create an item, in turns."""
    create = [Request("POST", API, person, NEW_ITEM) for person in people]
    queue = [Request("POST", f"{API}/queued", person, NEW_ITEM) for person in people]
    with running_server(FULL, database.url) as full, running_server(PLAIN, database.url) as plain:
        variants: dict[str, tuple[Server, list[Request]]] = {
            "create, without webhooks": (plain, create),
            "create, as it ships": (full, create),
            "create, and queue a job": (full, queue),
        }
        found: dict[str, list[Measurement]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, (server, requests) in variants.items():
                for table in ("items", "jobs"):
                    database.execute(f"DELETE FROM {table}")
                    database.execute(f"VACUUM (ANALYZE) {table}")
                found[name].append(measure(server, database, requests, seconds, WRITTEN))
    base = found["create, as it ships"]
    rows = [_request_row(name, each, base) for name, each in found.items()]
    head = ("request", "CPU µs", "ratio", "p50 ms", "ratio", "requests/s", "ratio")
    return Table("Requests that create an item, and their ratio to those as it ships", head, rows)


def _request_row(name: str, found: Sequence[Measurement], base: Sequence[Measurement]) -> list[str]:
    cells = []
    for figure, digits in (("cpu_us", 0), ("p50_ms", 1), ("per_second", 0)):
        values = [getattr(each, figure) for each in found]
        others = [getattr(each, figure) for each in base]
        ratios = [value / other for value, other in zip(values, others, strict=True)]
        cells += [f"{median(values):,.{digits}f}", f"{median(ratios):.2f}"]
    return [name, *cells]
