"""A queue that shares scarce capacity fairly: keys take turns, however many calls each has."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from app.core.errors import Overloaded

WAIT_SECONDS = 10
MAX_WAITING_PER_KEY = 100

ResultT = TypeVar("ResultT")


class FairQueue:
    """A round-robin queue of calls, at most `max_running` of which run at a time.

    A call raises Overloaded when it has waited for WAIT_SECONDS, or when MAX_WAITING_PER_KEY calls
    of its key wait already. A cancelled call leaves the queue. Work that has started runs to its
    end and counts until then, since a thread cannot be stopped.
    """

    def __init__(self, max_running: int) -> None:
        self._free = max_running
        self._waiters = dict[str, deque[asyncio.Future[None]]]()  # ordered: the next key is first

    async def run(self, key: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        if self._free:
            self._free -= 1
        else:
            await self._wait(key)
        running: asyncio.Future[ResultT] = asyncio.ensure_future(work())
        running.add_done_callback(self._release)
        return await asyncio.shield(running)

    async def _wait(self, key: str) -> None:
        waiters = self._waiters.setdefault(key, deque())
        if len(waiters) >= MAX_WAITING_PER_KEY:
            raise Overloaded(
                f"{MAX_WAITING_PER_KEY} requests are already waiting. Try again in a moment."
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # It was woken in the same moment.
                self._release()
            else:
                self._remove(key, waiter)
            if isinstance(error, TimeoutError):
                raise Overloaded("The server is busy. Try again in a moment.") from error
            raise

    def _remove(self, key: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(key, deque())
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[key]

    def _release(self, _: Any = None) -> None:
        while self._waiters:
            key = next(iter(self._waiters))
            waiters = self._waiters.pop(key)
            waiter = waiters.popleft()
            if waiters:
                self._waiters[key] = waiters  # The key goes to the end of the queue.
            if not waiter.done():  # Otherwise it has just been cancelled.
                waiter.set_result(None)
                return
        self._free += 1
