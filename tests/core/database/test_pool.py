"""Tests of the wait for a connection."""

import asyncio
from types import SimpleNamespace

import pytest

from app.core.database import pool
from app.core.database.pool import SMOOTHING, FairSemaphore
from app.core.errors import Overloaded
from tests.waiting import run_pending_tasks

SECONDS = 10


async def test_request_that_would_wait_too_long_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: now))
    slots = FairSemaphore(0)
    waiting = [asyncio.create_task(slots.acquire(SECONDS)) for _ in range(2 * SMOOTHING)]
    await run_pending_tasks()
    assert slots.waiting == len(waiting)
    for _ in range(SMOOTHING):
        now += 1  # A slot is released each second.
        slots.release()
    await run_pending_tasks()
    with pytest.raises(Overloaded):
        await slots.acquire(SECONDS)
    assert slots.waiting == SMOOTHING
    for _ in range(SMOOTHING):
        slots.release()
    await asyncio.gather(*waiting)
    assert slots.free == 0
