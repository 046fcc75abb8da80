"""Run `app worker` in a separate process, with the jobs of the slice `tests.greeter`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Timer

import pytest

from app.cli import cli
from app.core.jobs import runner
from tests.databases import ROOT
from tests.greeter import add_greeter
from tests.isolation import DEADLINE_SECONDS

LEASE = timedelta(seconds=3)
POLL_SECONDS = 0.2


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
    watchdog = Timer(
        DEADLINE_SECONDS, process.kill
    )  # A missing line must not block a test forever.
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
    raise AssertionError(f"the worker ended without a line that contains {part!r}")


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        add_greeter(monkeypatch)
        poll_seconds = float(os.environ.get("TEST_POLL_SECONDS", POLL_SECONDS))
        monkeypatch.setattr(runner, "POLL_SECONDS", poll_seconds)
        monkeypatch.setattr(runner, "LEASE", LEASE)
        if seconds := os.environ.get("TEST_STOP_SECONDS"):
            monkeypatch.setattr(runner, "STOP_SECONDS", float(seconds))
        cli(["worker"])
