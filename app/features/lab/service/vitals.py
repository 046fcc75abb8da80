"""How a process is doing: what an overloaded one shows first."""

import asyncio
import threading
from time import perf_counter

from app.core.schemas import Output

TICK_SECONDS = 0.01


class VitalsRead(Output):
    loop_lag_ms: float  # the longest that the loop was late for a timer
    threads: int  # the most that lived at once, besides the main one
    queries: int


class Vitals:
    def __init__(self) -> None:
        self.queries = 0
        self._reset()

    def _reset(self) -> None:
        self.queries, self._lag, self._threads = 0, 0.0, threading.active_count() - 1

    async def watch(self) -> None:
        while True:
            due = perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._lag = max(self._lag, perf_counter() - due)
            self._threads = max(self._threads, threading.active_count() - 1)

    def take(self) -> VitalsRead:
        """Since the last time."""
        vitals = VitalsRead(
            loop_lag_ms=1000 * self._lag, threads=self._threads, queries=self.queries
        )
        self._reset()
        return vitals
