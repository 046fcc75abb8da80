"""Tests of `/health/stuck`, by which an orchestrator restarts a process that has no connections."""

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from app.core.database import pool
from app.core.database.pool import FairSemaphore
from app.core.database.unit_of_work import Database
from tests.conftest import client_of, make_settings, running
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import run_pending_tasks

STUCK_SECONDS = 2 * DEADLINE_SECONDS + 1  # The tests have a long DATABASE_STATEMENT_TIMEOUT.


class PoolClock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PoolClock:
    """Return the clock of the pools, which a test can advance."""
    clock = PoolClock()
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


async def use_connection(database: Database) -> None:
    async with database.transaction() as session:
        await session.connection()


async def test_process_is_stuck_until_a_connection_is_returned(
    database_url: str, clock: PoolClock
) -> None:
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app, client_of(app) as client:

        async def status() -> int:
            return (await client.get("/health/stuck")).status_code

        database = app.state.resources.database
        async with database.transaction() as session:
            await session.connection()
            clock.ahead = STUCK_SECONDS
            assert await status() == 200  # Nobody waits.
            waiting = asyncio.create_task(use_connection(database))
            await run_pending_tasks()
            assert await status() == 200
            clock.ahead += STUCK_SECONDS
            assert await status() == 503
            assert (await client.get("/health/live")).status_code == 200
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            assert await status() == 503
        assert await status() == 200


async def test_pool_that_serves_those_that_wait_is_not_stalled(clock: PoolClock) -> None:
    slots = FairSemaphore(0)
    waiting = [asyncio.create_task(slots.acquire(DEADLINE_SECONDS)) for _ in range(2)]
    await run_pending_tasks()
    for task in waiting:
        clock.ahead += STUCK_SECONDS
        assert slots.stalled_seconds() >= STUCK_SECONDS
        slots.release()
        assert slots.stalled_seconds() < STUCK_SECONDS
        await task
    assert slots.stalled_seconds() == slots.waiting == 0
