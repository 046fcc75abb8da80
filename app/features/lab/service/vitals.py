"""Vital signs of a process: the event loop's lag, the use of threads, the number of queries."""

import asyncio
from time import perf_counter

from anyio import to_thread

from app.core.schemas import Output

TICK_SECONDS = 0.01


class VitalsRead(Output):
    loop_lag_ms: float  # the longest delay of a timer
    threads: int  # the most in use at once, of THREAD_LIMIT
    waiting: int  # the most calls that waited for a thread
    queries: int


class Vitals:
    def __init__(self) -> None:
        self.queries = self._threads = self._waiting = 0
        self._lag = 0.0

    async def watch(self) -> None:
        while True:
            await self._tick()

    async def watch_for(self, seconds: float) -> VitalsRead:
        end = perf_counter() + seconds
        while perf_counter() < end:
            await self._tick()
        return self.take()

    async def _tick(self) -> None:
        due = perf_counter() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        self._lag = max(self._lag, perf_counter() - due)
        threads = to_thread.current_default_thread_limiter().statistics()
        self._threads = max(self._threads, threads.borrowed_tokens)
        self._waiting = max(self._waiting, threads.tasks_waiting)

    def take(self) -> VitalsRead:
        """Return the vitals since the previous call, and reset them."""
        vitals = VitalsRead(
            loop_lag_ms=1000 * self._lag,
            threads=self._threads,
            waiting=self._waiting,
            queries=self.queries,
        )
        self.queries = self._threads = self._waiting = 0
        self._lag = 0.0
        return vitals
