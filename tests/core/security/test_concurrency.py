import asyncio

import pytest

from app.core.errors import TooManyAtOnce
from app.core.security import concurrency
from app.core.security.concurrency import ConcurrencyLimit


class Call:
    """A call that runs until the test ends it."""

    def __init__(self, limit: ConcurrencyLimit, key: int) -> None:
        self.runs = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(limit, key))

    async def _run(self, limit: ConcurrencyLimit, key: int) -> None:
        async with limit.hold(key):
            self.runs = True
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_calls_beyond_the_limit_of_a_key_wait() -> None:
    limit = ConcurrencyLimit(2, "calls")
    calls = [Call(limit, key) for key in (1, 1, 1, 2)]
    await settle()
    assert [call.runs for call in calls] == [True, True, False, True]
    await calls[0].end()
    await settle()
    assert calls[2].runs
    for call in calls[1:]:
        await call.end()


async def test_call_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.01)
    limit = ConcurrencyLimit(1, "calls")
    holder = Call(limit, 1)
    await settle()
    with pytest.raises(TooManyAtOnce):
        async with limit.hold(1):
            pass
    await holder.end()
    async with limit.hold(1):
        pass


async def test_keys_without_calls_are_removed() -> None:
    limit = ConcurrencyLimit(1, "calls")
    calls = [Call(limit, key) for key in (1, 1, 2)]
    await settle()
    calls[1].task.cancel()
    await asyncio.gather(calls[1].task, return_exceptions=True)
    await calls[0].end()
    await calls[2].end()
    assert not limit._semaphores
    assert not limit._calls
