"""Work that few may do at once, shared fairly between those who ask for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from app.core.errors import Overloaded

WAIT_SECONDS = 10
MAX_WAITING_PER_KEY = 100

ResultT = TypeVar("ResultT")


class FairQueue:
    """Runs work for one key after the other, however many calls one of them has waiting.

    A call that has waited for WAIT_SECONDS, or finds MAX_WAITING_PER_KEY others of its key, raises
    Overloaded. A cancelled call leaves the queue; work that has begun runs to its end, since a
    thread cannot be stopped, and counts until then.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting = dict[str, deque[asyncio.Future[None]]]()  # the key whose turn it is first

    async def run(self, key: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        if self._free:
            self._free -= 1
        else:
            await self._wait(key)
        running: asyncio.Future[ResultT] = asyncio.ensure_future(work())
        running.add_done_callback(self._release)
        return await asyncio.shield(running)

    async def _wait(self, key: str) -> None:
        waiting = self._waiting.setdefault(key, deque())
        if len(waiting) >= MAX_WAITING_PER_KEY:
            raise Overloaded(
                f"{MAX_WAITING_PER_KEY} requests are already waiting. Try again in a moment."
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # its turn came at the last moment
                self._release()
            else:
                self._forget(key, turn)
            if isinstance(error, TimeoutError):
                raise Overloaded("The server is busy. Try again in a moment.") from error
            raise

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key, deque())
        if turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[key]

    def _release(self, _: Any = None) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            waiting = self._waiting.pop(key)
            turn = waiting.popleft()
            if waiting:
                self._waiting[key] = waiting  # behind the others
            if not turn.done():  # else it was cancelled just now
                turn.set_result(None)
                return
        self._free += 1
