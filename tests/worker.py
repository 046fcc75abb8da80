"""`app worker`, in a process of its own, with the jobs of the tests' own slice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import pytest

from app.cli import cli
from app.core.jobs import jobs, redis_queue
from tests.databases import ROOT
from tests.greeter import add_greeter
from tests.isolation import DEADLINE_SECONDS

TAKE_OVER_SECONDS = 3  # a worker that is alive has so long to say so


@contextmanager
def working(
    redis_url: str, database_url: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    settings = {
        "ENVIRONMENT": "test",
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "SECRET_KEY": "x",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.worker"],
        cwd=ROOT,
        env=os.environ | settings | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = Timer(DEADLINE_SECONDS, process.kill)  # so that no test waits for a line for ever
    watchdog.start()
    try:
        wait_for_line(process, "The worker is ready")
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], part: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if part in line:
            return line
    raise AssertionError(f"the worker has ended without a line with {part!r}")


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        add_greeter(monkeypatch)
        monkeypatch.setattr(redis_queue, "TAKE_OVER_SECONDS", TAKE_OVER_SECONDS)
        if seconds := os.environ.get("TEST_STOP_SECONDS"):
            monkeypatch.setattr(jobs, "STOP_SECONDS", float(seconds))
        cli(["worker"])
