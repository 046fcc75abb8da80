"""The real server, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.databases import ROOT
from tests.isolation import DEADLINE_SECONDS, empty_folder
from tests.sockets import LIVE
from tests.waiting import eventually

# What the server logs when it stops before a request has ended.
GRACE_IS_OVER = "timeout graceful shutdown exceeded"
# Of a WebSocket's client.
PATIENT: dict[str, Any] = {
    "open_timeout": DEADLINE_SECONDS,
    "close_timeout": DEADLINE_SECONDS,
    "ping_interval": None,
}
SECRET_KEY = "a secret that only the tests know"
REDIS_URL = os.environ.get("TEST_REDIS_URL")
held_ports = list[socket.socket]()
if REDIS_URL:  # a database for each process of the tests: NUMBER, NUMBER + 1...
    _server, _, _number = REDIS_URL.rpartition("/")
    _worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    REDIS_URL = f"{_server}/{int(_number) + int(_worker)}"


def redis_beside(database_url: str) -> str | None:
    """As in production, PostgreSQL comes with Redis, and SQLite without."""
    return REDIS_URL if database_url.startswith("postgresql") else None


def free_port() -> int:
    """Return a port that nobody else is given: it stays bound here, and a server can listen there
    all the same. Else two runs of the tests could ask each other's servers."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    held_ports.append(holder)
    port: int = holder.getsockname()[1]
    return port


def start(database_url: str, port: int, **environment: str) -> subprocess.Popen[bytes]:
    settings = {
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_beside(database_url) or "",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_POOL_TIMEOUT": str(DEADLINE_SECONDS),
        "DATABASE_STATEMENT_TIMEOUT": str(DEADLINE_SECONDS),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.serve"],
        cwd=empty_folder(),
        env=os.environ | settings | environment,
    )


def http_client(url: str) -> httpx.Client:
    """Return a client without certificates: to load them takes longer than most tests."""
    return httpx.Client(base_url=url, timeout=DEADLINE_SECONDS, verify=False)


@contextmanager
def serving(database_url: str, **environment: str) -> Iterator[httpx.Client]:
    """A client of the server, which is stopped with SIGTERM at the end."""
    with serving_process(database_url, **environment) as (client, _):
        yield client


@contextmanager
def serving_process(database_url: str, **environment: str) -> Iterator[tuple[httpx.Client, int]]:
    """Serve as `serving` does, and yield the process's id, too."""
    port = free_port()
    process = start(database_url, port, **environment)
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            wait_until_live(process, client)
            yield client, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=DEADLINE_SECONDS)
    assert status in (0, -signal.SIGTERM)  # after its shutdown, uvicorn ends as it was told to


def wait_until_live(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    def is_live() -> bool:
        assert process.poll() is None, "the server has stopped"
        try:
            return client.get("/health/live").is_success
        except httpx.TransportError:
            return False

    eventually(is_live)


def sign_up(client: httpx.Client, name: str = "ann") -> None:
    """The client is signed in afterwards."""
    account = {"email": f"{name}@example.com", "password": "correct horse battery"}
    assert client.post("/api/v1/users", json=account).status_code == 201
    form = {"grant_type": "password", "username": account["email"]}
    response = client.post("/api/v1/auth/token", data=form | {"password": account["password"]})
    client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def live_url(client: httpx.Client, path: str = LIVE) -> str:
    return f"ws://127.0.0.1:{client.base_url.port}{path}"


def listen(client: httpx.Client, path: str = LIVE, **options: Any) -> ClientConnection:
    """To the changes of the items of who is signed in."""
    headers = {"Authorization": client.headers["Authorization"]}
    options = PATIENT | {"additional_headers": headers} | options
    connection: ClientConnection = connect(live_url(client, path), **options)
    return connection
