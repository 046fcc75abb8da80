"""Waiting for what has no event. Each wait ends at one generous deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.isolation import DEADLINE_SECONDS

LOOK_AGAIN_SECONDS = 0.02


def eventually(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold"
        time.sleep(LOOK_AGAIN_SECONDS)


async def eventually_async(condition: Callable[[], Awaitable[Any]]) -> None:
    """Return as soon as the condition holds, and let the event loop run meanwhile."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():  # noqa: ASYNC110  # what has no event
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def settled() -> None:
    """Let each task of the event loop run until it waits for something."""
    for _ in range(100):
        await asyncio.sleep(0)


class Clock:
    """The event loop's time, which a test puts forward: what is due then happens at once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time, self._ahead = loop.time, 0.0
        loop.time = lambda: self._time() + self._ahead  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        self._ahead += seconds
        await settled()
