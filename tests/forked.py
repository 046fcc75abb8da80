"""Run the server in a fork of a process that has imported the application.

Importing it takes longer than starting a server, and many tests start one.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from multiprocessing.reduction import DupFd
from subprocess import TimeoutExpired
from typing import Any

from app.core.config import get_settings
from app.discovery import discover, optional
from tests.databases import ROOT

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])

# Everything but `app.main`, which creates the application with the settings of the process.
for part in ("app.cli", "app.resources", "app.pages", "app.admin", "app.core.fastpath"):
    optional(part)
for layer in ("router", "live", "pages", "admin", "jobs"):
    [*discover(layer)]


class ForkedServer:
    """The process of a server, with what tests use of `subprocess.Popen`."""

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        # The fork server has the standard streams of the test that started it.
        streams: list[Any] = [DupFd(1), DupFd(2)]
        self._process = context.Process(target=_serve, args=(folder, environment, streams))
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise TimeoutExpired("the server", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(folder: str, environment: dict[str, str], streams: list[Any]) -> None:
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.detach(), number)
    os.dup2(sys.stdin.fileno(), 0)
    sys.stdin = os.fdopen(0)  # Other processes inherit no other number.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(ROOT))
    # The fork imports the script that started it, which may have created the application.
    get_settings.cache_clear()
    sys.modules.pop("app.main", None)
    runpy.run_module("tests.serve", run_name="__main__", alter_sys=True)
