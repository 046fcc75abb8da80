"""Tests of requests that arrive at the same time."""

import asyncio
from collections import Counter
from typing import Any

from starlette.types import Receive, Scope, Send

from app.core.http.middleware.paced_starts import STARTS_PER_TURN, PacedStarts
from tests.waiting import run_pending_tasks

REQUESTS = 10 * STARTS_PER_TURN


class Turns:
    """An application that records in which turn of the event loop each path starts."""

    def __init__(self) -> None:
        self.turn = 0
        self.starts = dict[str, int]()
        self._paced = PacedStarts(self._run)
        self._counting = asyncio.create_task(self._count())

    def request(self, path: str) -> asyncio.Task[Any]:
        scope = {"type": "http", "path": path, "root_path": ""}

        async def run(*unused: object) -> None:
            await self._paced(scope, *unused)  # type: ignore[arg-type]  # neither is called

        return asyncio.create_task(run(None, None))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.starts[scope["path"]] = self.turn

    async def _count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


async def test_few_requests_start_in_a_turn_in_their_order() -> None:
    turns = Turns()
    for number in range(REQUESTS):
        turns.request(f"/{number}")
    await run_pending_tasks()
    assert [*turns.starts] == [f"/{number}" for number in range(REQUESTS)]
    assert max(Counter(turns.starts.values()).values()) <= STARTS_PER_TURN


async def test_health_check_overtakes_other_requests() -> None:
    turns = Turns()
    for number in range(REQUESTS):
        turns.request(f"/{number}")
    turns.request("/health/live")
    await run_pending_tasks()
    assert turns.starts["/health/live"] == turns.starts["/0"]


async def test_request_that_has_left_takes_no_place() -> None:
    turns = Turns()
    requests = [turns.request(f"/{number}") for number in range(REQUESTS)]
    await asyncio.sleep(0)
    for request in requests:
        request.cancel()
    turns.request("/last")
    await run_pending_tasks()
    assert "/last" in turns.starts
