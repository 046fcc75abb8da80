"""The contenders: the project as it ships, and two floors. Each is a process on one core."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.database import BIN, SECRET_KEY
from bench.errors import BenchError
from bench.process import cores, pin

ROOT = Path(__file__).parents[1]
START_SECONDS = 30
STOP_SECONDS = 30


@dataclass(frozen=True)
class Contender:
    name: str
    title: str
    command: tuple[str, ...]


def _floor_command(module: str) -> tuple[str, ...]:
    """Return the command of a floor, with the same server options as `app serve`."""
    options = ("--no-access-log", "--no-server-header", "--log-level", "warning", "--port")
    return (str(BIN / "uvicorn"), f"bench.floor.{module}:app", *options)


FLOOR = Contender("starlette", "Starlette", _floor_command("starlette_asyncpg"))
FASTAPI = Contender("fastapi", "FastAPI", _floor_command("fastapi_asyncpg"))
PROJECT = Contender("project", "this project", (str(BIN / "app"), "serve"))
CONTENDERS = (FLOOR, FASTAPI, PROJECT)


@dataclass(frozen=True)
class Server:
    contender: Contender
    pid: int
    url: str
    start_seconds: float  # from the start of the process to the first response


@contextmanager
def running_server(contender: Contender, database_url: str) -> Iterator[Server]:
    """Start one worker with production settings, without those of the shell and of .env.

    Its log is written to a file, as a container's log is.
    """
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "production",
        "LOG_FORMAT": "json",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": database_url,
        "PUBLIC_URL": "https://bench.example.com",
        "PORT": str(port),
    }
    command = contender.command
    if contender is not PROJECT:
        command = (*command, str(port))
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        pin(process.pid, cores()[0])
        try:
            url = f"http://127.0.0.1:{port}"
            if not _is_live(process, url):
                log.seek(0)
                raise BenchError(f"{contender.title} did not start: {log.read()[-2000:]}")
            yield Server(contender, process.pid, url, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_live(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=url) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                return client.get("/health/live").is_success
            except httpx.TransportError:
                time.sleep(0.005)
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
