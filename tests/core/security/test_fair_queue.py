import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.core.errors import Unavailable
from app.core.security import fair_queue
from app.core.security.fair_queue import FairQueue


class Works:
    """Work that runs until the test ends it, and the order in which it started."""

    def __init__(self) -> None:
        self.connection = list[str]()
        self.end = asyncio.Event()

    def named(self, name: str) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            self.connection.append(name)
            await self.end.wait()
            return name

        return work


@pytest.fixture
async def works() -> Works:
    return Works()


async def start(queue: FairQueue, works: Works, key: str, name: str) -> asyncio.Task[str]:
    task = asyncio.create_task(queue.run(key, works.named(name)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_keys_take_turns(works: Works) -> None:
    queue = FairQueue(1)
    tasks = [await start(queue, works, "a", f"a{n}") for n in range(4)]
    tasks += [await start(queue, works, "b", f"b{n}") for n in range(2)]
    works.end.set()
    await asyncio.gather(*tasks)
    assert works.connection == ["a0", "a1", "b0", "a2", "b1", "a3"]


async def test_running_calls_are_limited(works: Works) -> None:
    queue = FairQueue(2)
    tasks = [await start(queue, works, "a", str(n)) for n in range(3)]
    assert works.connection == ["0", "1"]
    works.end.set()
    await asyncio.gather(*tasks)
    await start(queue, works, "a", "next")
    await start(queue, works, "a", "and another")
    assert works.connection[3:] == ["next", "and another"]


async def test_cancelled_call_leaves_the_queue(works: Works) -> None:
    queue = FairQueue(1)
    running = await start(queue, works, "a", "running")
    gone = await start(queue, works, "b", "gone")
    stays = await start(queue, works, "c", "stays")
    gone.cancel()
    works.end.set()
    await asyncio.gather(running, stays)
    assert works.connection == ["running", "stays"]
    assert gone.cancelled()


async def test_cancelled_work_counts_until_its_end(works: Works) -> None:
    queue = FairQueue(1)
    gone = await start(queue, works, "a", "gone")
    gone.cancel()
    waits = await start(queue, works, "a", "waits")
    assert works.connection == ["gone"]
    works.end.set()
    assert await waits == "waits"


@pytest.mark.parametrize("steps", range(6))
async def test_call_cancelled_in_its_turn_passes_it_on(works: Works, steps: int) -> None:
    """The cancellation may come at any step of the event loop between its turn and its work."""
    queue = FairQueue(1)
    await start(queue, works, "a", "running")
    gone = await start(queue, works, "b", "gone")
    stays = await start(queue, works, "c", "stays")
    works.end.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    gone.cancel()
    assert await stays == "stays"


async def test_call_that_waits_too_long_is_unavailable(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "WAIT_SECONDS", 0.01)
    queue = FairQueue(1)
    running = await start(queue, works, "a", "running")
    with pytest.raises(Unavailable):
        await queue.run("b", works.named("late"))
    works.end.set()
    await running
    assert await queue.run("b", works.named("later")) == "later"


async def test_queue_of_a_key_is_bounded(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "MAX_WAITING_PER_KEY", 2)
    queue = FairQueue(1)
    tasks = [await start(queue, works, "a", str(n)) for n in range(3)]
    with pytest.raises(Unavailable):
        await queue.run("a", works.named("one too many"))
    other = await start(queue, works, "b", "another key")
    works.end.set()
    assert await asyncio.gather(*tasks, other) == ["0", "1", "2", "another key"]
