"""Run the real server in a separate process."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.databases import ROOT
from tests.forked import ForkedServer
from tests.isolation import DEADLINE_SECONDS, empty_folder
from tests.sockets import LIVE
from tests.waiting import eventually

# The server logs this when it stops before a request has ended.
GRACE_PERIOD_EXCEEDED = "timeout graceful shutdown exceeded"
# The options of a WebSocket client.
CLIENT_OPTIONS: dict[str, Any] = {
    "open_timeout": DEADLINE_SECONDS,
    "close_timeout": DEADLINE_SECONDS,
    "ping_interval": None,
}
PASSWORD = "correct horse battery"
SECRET_KEY = "a secret that only the tests know"
REDIS_URL = os.environ.get("TEST_REDIS_URL")
held_ports = list[socket.socket]()
if REDIS_URL:  # Each process of the tests gets a database: NUMBER, NUMBER + 1...
    _server, _, _number = REDIS_URL.rpartition("/")
    _worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    REDIS_URL = f"{_server}/{int(_number) + int(_worker)}"


def redis_url_for(database_url: str) -> str | None:
    """Return the URL of Redis for PostgreSQL, as in production, and None for SQLite."""
    return REDIS_URL if database_url.startswith("postgresql") else None


def free_port() -> int:
    """Return a port that no other process gets.

    The port stays bound here; with SO_REUSEADDR, a server can listen on it nevertheless. Without
    this, two runs of the tests could use each other's servers.
    """
    return hold_port(0)


def hold_port(port: int) -> int:
    """Hold a port, or any if it is 0, and return it. Raise OSError if it is in use."""
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        raise
    # Not before: the port could be one that another process of the tests holds.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held_ports.append(holder)
    held: int = holder.getsockname()[1]
    return held


def start(
    database_url: str, port: int, command: Sequence[str] = (), **environment: str
) -> ForkedServer | subprocess.Popen[bytes]:
    """Start a server: that of `app serve`, or of a command of Python."""
    settings = {
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url_for(database_url) or "",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_POOL_TIMEOUT": str(DEADLINE_SECONDS),
        "DATABASE_STATEMENT_TIMEOUT": str(DEADLINE_SECONDS),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    variables = os.environ | settings | environment
    if not command:
        return ForkedServer(empty_folder(), variables)
    return subprocess.Popen([sys.executable, *command], cwd=empty_folder(), env=variables)


def http_client(url: str) -> httpx.Client:
    """Return a client without certificates: loading them takes longer than most tests."""
    return httpx.Client(base_url=url, timeout=DEADLINE_SECONDS, verify=False)


@contextmanager
def serving(database_url: str, **environment: str) -> Iterator[httpx.Client]:
    """Start a server, yield a client, and stop the server with SIGTERM at the end."""
    with serving_process(database_url, **environment) as (client, _):
        yield client


@contextmanager
def serving_process(database_url: str, **environment: str) -> Iterator[tuple[httpx.Client, int]]:
    """Do the same as `serving`, and yield the process's id, too."""
    port = free_port()
    process = start(database_url, port, **environment)
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            wait_until_live(process, client)
            yield client, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=DEADLINE_SECONDS)
    assert status == 0, f"the server has exited with {status}"


@contextmanager
def serving_until_killed(database_url: str) -> Iterator[httpx.Client]:
    """Start a server, yield a client, and kill the server at the end, before the client closes."""
    port = free_port()
    process = start(database_url, port)
    with http_client(f"http://127.0.0.1:{port}") as client:
        try:
            wait_until_live(process, client)
            yield client
        finally:
            process.kill()
            process.wait()


def wait_until_live(process: ForkedServer | subprocess.Popen[bytes], client: httpx.Client) -> None:
    def is_live() -> bool:
        assert process.poll() is None, "the server has stopped"
        try:
            return client.get("/health/live").is_success
        except httpx.TransportError:
            return False

    eventually(is_live)


def is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), DEADLINE_SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def sign_up(client: httpx.Client, name: str = "ann") -> None:
    """Create an account, and sign the client in."""
    account = {"email": f"{name}@example.com", "password": PASSWORD}
    assert client.post("/api/v1/users", json=account).status_code == 201
    sign_in(client, name)


def sign_in(client: httpx.Client, name: str = "ann") -> None:
    form = {"grant_type": "password", "username": f"{name}@example.com", "password": PASSWORD}
    response = client.post("/api/v1/auth/token", data=form)
    client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def live_url(client: httpx.Client, path: str = LIVE) -> str:
    return f"ws://127.0.0.1:{client.base_url.port}{path}"


def listen(client: httpx.Client, path: str = LIVE, **options: Any) -> ClientConnection:
    """Open the live feed of the signed-in user's items."""
    headers = {"Authorization": client.headers["Authorization"]}
    options = CLIENT_OPTIONS | {"additional_headers": headers} | options
    connection: ClientConnection = connect(live_url(client, path), **options)
    return connection
