"""Tests of servers that are stopped under load, or whose parent process is killed."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.conftest import only
from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port, http_client, is_listening, serving, start, wait_until_live
from tests.waiting import eventually

pytestmark = [only("sqlite"), pytest.mark.slow("it starts servers with several workers")]

CLIENTS = 8


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stop_under_load_cuts_no_request(database_url: str, workers: str) -> None:
    served, cut = count(1), list[httpx.TransportError]()
    number = 0

    def request_until_refused(url: str) -> None:
        nonlocal number
        while True:
            try:
                with http_client(url) as client:
                    for _ in range(3):  # on one connection
                        assert client.get("/health/live").status_code == 200
                        number = next(served)
            except httpx.ConnectError:
                return
            except httpx.TransportError as error:
                cut.append(error)

    with ThreadPoolExecutor(CLIENTS) as threads:
        with serving(database_url, WEB_CONCURRENCY=workers) as client:
            url = str(client.base_url)
            results = [threads.submit(request_until_refused, url) for _ in range(CLIENTS)]
            eventually(lambda: number > 10 * CLIENTS)
        for result in results:
            result.result(DEADLINE_SECONDS)
    assert cut == []


def test_workers_stop_when_their_parent_is_killed(database_url: str) -> None:
    port = free_port()
    process = start(database_url, port, WEB_CONCURRENCY="2")
    with http_client(f"http://127.0.0.1:{port}") as client:
        wait_until_live(process, client)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: not is_listening("127.0.0.1", port))


def test_stopped_worker_is_replaced(database_url: str) -> None:
    port = free_port()
    # Without the extended time-outs of the tests.
    serve = ("-c", "from app.cli import cli; cli(['serve'])")
    process = start(database_url, port, serve, WEB_CONCURRENCY="2")
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            wait_until_live(process, client)
        eventually(lambda: len(workers_of(process.pid)) == 2)
        stopped, other = workers_of(process.pid)
        os.kill(stopped, signal.SIGSTOP)
        eventually(lambda: stopped not in workers_of(process.pid))
        eventually(lambda: len(workers_of(process.pid)) == 2)
        assert other in workers_of(process.pid)
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def workers_of(parent: int) -> list[int]:
    """Return the ids of the processes that the parent has spawned to serve."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"spawn_main" in command]
