"""Measures what a server does with more requests than it can serve."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import urlsplit

from rich.progress import Progress

from bench.contenders import PROJECT, Server, running_server
from bench.database import Database, Person, temporary_database
from bench.errors import BenchError
from bench.load import CONNECTIONS, WARM_UP_SECONDS, require_wrk
from bench.report import Table
from bench.workloads import ITEMS, PEOPLE, Workload

SCRIPT = Path(__file__).with_name("overload.lua")
# Ten times as many, and MAX_CONNECTIONS. However many clients there are, a worker holds no more.
OVERLOADS = (10 * CONNECTIONS, 1000)
PROBE_SECONDS = 0.02
PROBE_TIMEOUT = 10


@dataclass
class Load:
    """What the clients of one measurement have seen."""

    seconds: float = 0.0
    accepted_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    broken: int = 0  # connections that were reset
    live_ms: list[float] = field(default_factory=list)

    @property
    def accepted_per_second(self) -> float:
        return len(self.accepted_ms) / self.seconds


def run(server_url: str, seconds: int, workloads: Sequence[Workload], progress: Progress) -> Table:
    require_wrk()
    rows = []
    with temporary_database(server_url) as database:
        people = database.add_people(PEOPLE)
        database.add_items(people, 1, ITEMS)
        task = progress.add_task("overload", total=len(workloads) * (1 + len(OVERLOADS)))
        with running_server(PROJECT, database.url) as server:
            for workload in workloads:
                peak = 0.0
                for connections in (CONNECTIONS, *OVERLOADS):
                    progress.update(task, description=f"{workload.name}, {connections}")
                    found = _measure(server, database, workload, people, connections, seconds)
                    peak = peak or found.accepted_per_second
                    rows.append([workload.name, str(connections), *_cells(found, peak)])
                    progress.advance(task)
    head = (
        "workload", "connections", "accepted/s", "of the peak", "p99 ms", "refused/s", "p99 ms",
        "broken", "live p99 ms", "live max ms",
    )  # fmt: skip
    return Table("Requests of more and more connections that never pause", head, rows)


def _cells(found: Load, peak: float) -> list[str]:
    refused = len(found.refused_ms)
    return [
        f"{found.accepted_per_second:,.0f}",
        f"{found.accepted_per_second / peak:.2f}",
        f"{percentile(found.accepted_ms, 99):,.0f}",
        f"{refused / found.seconds:,.0f}",
        f"{percentile(found.refused_ms, 99):,.0f}" if refused else "",
        str(found.broken),
        f"{percentile(found.live_ms, 99):,.0f}",
        f"{max(found.live_ms):,.0f}",
    ]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the lowest value that is not exceeded by so many percent of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _measure(
    server: Server,
    database: Database,
    workload: Workload,
    people: list[Person],
    connections: int,
    seconds: int,
) -> Load:
    with TemporaryDirectory() as folder:
        requests = Path(folder) / "requests"
        requests.write_text("".join(each.line() for each in workload.requests(people)))
        _run_wrk(server, requests, CONNECTIONS, WARM_UP_SECONDS)
        database.pin_backends()
        with _probing(server) as live_ms:
            found = _run_wrk(server, requests, connections, seconds)
    found.live_ms = live_ms
    if not found.accepted_ms:
        raise BenchError(f"The server accepted nothing of {connections} connections.")
    return found


def _run_wrk(server: Server, requests: Path, connections: int, seconds: int) -> Load:
    responses = requests.with_name("responses")
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), server.url, "--", str(requests), str(responses)]
    started = time.perf_counter()
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = Load(seconds=time.perf_counter() - started, broken=_broken(output))
    for line in responses.read_text().splitlines():
        status, _, latency = line.partition(" ")
        if status.startswith("2"):
            found.accepted_ms.append(float(latency))
        elif status == "503":
            found.refused_ms.append(float(latency))
        else:
            raise BenchError(f"The server answered with {status}.")
    return found


def _broken(output: str) -> int:
    """Read the line `Socket errors: connect 0, read 3, write 0, timeout 0`, if there is one."""
    _, _, errors = output.partition("Socket errors: ")
    return sum(int(each.split()[1]) for each in errors.partition("\n")[0].split(", ") if each)


@contextmanager
def _probing(server: Server) -> Iterator[list[float]]:
    """Request `/health/live` during the block, each time on a new connection, as probes do."""
    latencies: list[float] = []
    errors: list[Exception] = []
    stop = Event()

    def probe() -> None:
        try:
            while not stop.wait(PROBE_SECONDS):
                latencies.append(_live_ms(server.url))
        except (OSError, BenchError) as error:
            errors.append(error)

    thread = Thread(target=probe)
    thread.start()
    try:
        yield latencies
    finally:
        stop.set()
        thread.join()
    if errors:
        raise BenchError(f"GET /health/live failed: {errors[0]!r}") from errors[0]


def _live_ms(url: str) -> float:
    started = time.perf_counter()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 200:
        raise BenchError(f"it answered with {status}")
    return (time.perf_counter() - started) * 1000
