"""How a process is doing: what an overloaded one shows first."""

import asyncio
from time import perf_counter

from anyio import to_thread

from app.core.schemas import Output

TICK_SECONDS = 0.01


class VitalsRead(Output):
    loop_lag_ms: float  # the longest that the loop was late for a timer
    threads: int  # the most that were taken at once, of THREAD_LIMIT
    queries: int


class Vitals:
    def __init__(self) -> None:
        self.queries = self._threads = 0
        self._lag = 0.0

    async def watch(self) -> None:
        limiter = to_thread.current_default_thread_limiter()
        while True:
            due = perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._lag = max(self._lag, perf_counter() - due)
            self._threads = max(self._threads, limiter.borrowed_tokens)

    def take(self) -> VitalsRead:
        """Since the last time."""
        vitals = VitalsRead(
            loop_lag_ms=1000 * self._lag, threads=self._threads, queries=self.queries
        )
        self.queries = self._threads = 0
        self._lag = 0.0
        return vitals
