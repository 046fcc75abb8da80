"""Runs wrk, and measures the server under its load."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import BaseModel

from bench.contenders import Server
from bench.database import Database
from bench.errors import BenchError
from bench.process import cpu_seconds
from bench.workloads import Request

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32
WARM_UP_SECONDS = 1


class Measurement(BaseModel):
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # the server's CPU time for each request
    pinned: bool  # whether PostgreSQL's processes were pinned

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def require_wrk() -> str:
    path = shutil.which("wrk")
    if path is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    return path


def measure(
    server: Server,
    database: Database,
    requests: Iterable[Request],
    seconds: int,
    written: str | None = None,
    connections: int = CONNECTIONS,
) -> Measurement:
    """Measure the requests, after a warm-up that opens the connections to PostgreSQL.

    `written` is a query for a number that each request increases by one. Raise BenchError if the
    number of writes is too low.
    """
    with NamedTemporaryFile("w", suffix=".requests") as file:
        file.writelines(request.line() for request in requests)
        file.flush()
        _run_wrk(server, file.name, WARM_UP_SECONDS, connections)
        pinned = database.pin_backends()
        written_before = database.value(written) if written else 0
        cpu = cpu_seconds(server.pid)
        found = _run_wrk(server, file.name, seconds, connections)
        cpu = cpu_seconds(server.pid) - cpu
    if not found["requests"]:
        raise BenchError(f"{server.contender.title} answered nothing in {seconds} s.")
    if written and database.value(written) - written_before < found["requests"]:
        raise BenchError(f"{server.contender.title} confirmed writes that are not in the database.")
    return Measurement(cpu_us=cpu / found["requests"] * 1e6, pinned=pinned, **found)


def _run_wrk(server: Server, file: str, seconds: int, connections: int) -> dict[str, float]:
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), server.url, "--", file]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    refused, broken = found.pop("refused"), found.pop("broken")
    if refused or broken:
        raise BenchError(
            f"{server.contender.title}: of {found['requests']} requests {refused} were answered "
            f"with an error, and {broken} connections broke or timed out."
        )
    return found
