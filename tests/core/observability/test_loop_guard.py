import asyncio
import inspect
import logging
import threading
import time
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app.core.http.middleware.request_context import RequestContext
from app.core.observability import loop_guard
from app.core.observability.loop_guard import LoopGuard, Sample
from app.main import create_app
from tests.conftest import client_of, make_settings
from tests.isolation import DEADLINE_SECONDS

SECONDS = 0.15


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """Return a list that the guard's samples are added to."""
    take, samples = LoopGuard._take_sample, list[Sample]()

    def take_and_record(guard: LoopGuard) -> Sample | None:
        if sample := take(guard):
            samples.append(sample)
        return sample

    monkeypatch.setattr(LoopGuard, "_take_sample", take_and_record)
    return samples


@pytest.fixture
async def client(
    blocking_detector: BlockBuster, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.add_middleware(RequestContext)
    app.add_middleware(LoopGuard)

    @app.get("/blocks/{number}")
    async def block(number: int) -> None:
        while not samples:
            time.sleep(SECONDS)  # noqa: ASYNC251 - This is what the guard has to find.

    @app.get("/works/{number}")
    async def work(number: int) -> None:
        ends = time.monotonic() + SECONDS
        while not samples or time.monotonic() < ends:
            sum(range(number))

    heartbeat, heartbeats, have_been = LoopGuard._heartbeat, count(1), threading.Event()

    def count_heartbeat(guard: LoopGuard, due: float) -> None:
        heartbeat(guard, due)
        if next(heartbeats) == 10 * loop_guard.BLOCKED_SECONDS / loop_guard.HEARTBEAT_SECONDS:
            have_been.set()

    monkeypatch.setattr(LoopGuard, "_heartbeat", count_heartbeat)

    @app.get("/waits")
    async def wait() -> None:
        assert await run_in_threadpool(have_been.wait, DEADLINE_SECONDS)

    blocking_detector.functions["time.sleep"].can_block_in(
        "tests/core/observability/test_loop_guard.py", "block"
    )
    lifespan = asyncio.create_task(live(app, started := asyncio.Event(), ends := asyncio.Event()))
    await started.wait()
    async with client_of(app) as client:
        yield client
    ends.set()
    await lifespan


async def live(app: FastAPI, started: asyncio.Event, ends: asyncio.Event) -> None:
    """Run the lifespan through the middleware, as a server does."""

    async def receive() -> dict[str, Any]:
        if started.is_set():
            await ends.wait()
            return {"type": "lifespan.shutdown"}
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        started.set()

    await app({"type": "lifespan", "state": {}}, receive, send)


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.came.set()


@pytest.fixture
async def warnings() -> AsyncIterator[Warnings]:
    warnings = Warnings()
    logging.getLogger("app.loop").addHandler(warnings)
    yield warnings
    logging.getLogger("app.loop").removeHandler(warnings)


@pytest.mark.parametrize(
    ("path", "endpoint", "line"),
    [
        ("/blocks/1", "GET /blocks/{number}", "in block: time.sleep(SECONDS)"),
        ("/works/10", "GET /works/{number}", "in work: "),
    ],
)
async def test_blocking_request_is_logged_once(
    client: httpx.AsyncClient, warnings: Warnings, path: str, endpoint: str, line: str
) -> None:
    assert (await client.get(path)).status_code == 200
    await asyncio.wait_for(warnings.came.wait(), DEADLINE_SECONDS)
    (warning,) = [each for each in warnings.messages if line in each]
    assert f" ms by {endpoint}, at tests/core/observability/test_loop_guard.py:" in warning
    assert line in warning


async def test_waiting_request_is_not_logged(client: httpx.AsyncClient, warnings: Warnings) -> None:
    assert (await client.get("/waits")).status_code == 200
    assert not [each for each in warnings.messages if "in wait:" in each]


def test_guard_is_added_in_local_only() -> None:
    for environment, guarded in (("local", True), ("production", False)):
        settings = make_settings(
            "sqlite+aiosqlite:///x.db",
            environment=environment,
            secret_key="0123456789abcdef" * 2,
            public_url="https://app.example.com",
        )
        classes: list[Any] = [each.cls for each in create_app(settings).user_middleware]
        assert (LoopGuard in classes) == guarded


def test_frame_without_a_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = inspect.currentframe()
    assert frame
    monkeypatch.setattr(loop_guard, "walk_stack", lambda frame: [(frame, None)])
    assert "test_loop_guard.py:0 in test_frame_without" in loop_guard.line_of(frame)
