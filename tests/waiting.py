"""Wait for a condition, up to one generous deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from tests.isolation import DEADLINE_SECONDS

POLL_SECONDS = 0.02


def eventually(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold"
        time.sleep(POLL_SECONDS)


async def eventually_async(condition: Callable[[], Awaitable[Any]]) -> None:
    """Return as soon as the condition holds, and let the event loop run meanwhile."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():  # noqa: ASYNC110  # There is no event to wait for.
            await asyncio.sleep(POLL_SECONDS)


async def eventually_true(condition: Callable[[], bool]) -> None:
    """Wait for a condition that awaits nothing, and let the event loop run meanwhile."""

    async def holds() -> bool:
        return condition()

    await eventually_async(holds)


async def until_blocked(app: FastAPI, many: int = 1) -> None:
    """Wait until statements of PostgreSQL wait for locks of others."""
    count = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with app.state.resources.database.reading() as session:

        async def are_blocked() -> bool:
            return bool(await session.scalar(count) >= many)

        await eventually_async(are_blocked)


async def run_pending_tasks() -> None:
    """Run all tasks of the event loop until each of them waits for something."""
    for _ in range(100):
        await asyncio.sleep(0)


class Clock:
    """The clock of the event loop, which a test can advance."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time, self._ahead = loop.time, 0.0
        loop.time = lambda: self._time() + self._ahead  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        self._ahead += seconds
        await run_pending_tasks()
