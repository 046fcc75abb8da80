"""The jobs' queue on Redis: a stream. Imported only when there is a REDIS_URL."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

import stamina
from redis import DriverInfo
from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq import AckableMessage
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

TAKE_OVER_SECONDS = 30
HELD_AT_ONCE = 100  # most of them wait for their next attempt
BLOCK_SECONDS = 2
AGAIN_SECONDS = 1
logger = logging.getLogger("app.jobs")


class RedisQueue(RedisStreamBroker):
    """taskiq-redis 1.2.4 takes over what a killed worker held only when a new message comes, and
    takes what is merely slow from a living one (its pull request 129). So this reads by itself:

    - A worker holds what it runs and no more, and renews its hold. What is not renewed for
      TAKE_OVER_SECONDS is another worker's.
    - What is done is deleted. The stream is not cut to a length, since that would lose jobs: a
      Redis that is full refuses new ones.
    """

    def __init__(self, url: str) -> None:
        super().__init__(
            url,
            queue_name="jobs",
            consumer_group_name="workers",
            consumer_name="worker",  # one for all: Redis would keep the names of those gone
            consumer_id="0",  # with what was queued before the first worker
            driver_info=DriverInfo(),  # else each connection looks for files to know its version
            socket_timeout=None,  # with one, a cancellation can be lost; reading blocks anyway
        )
        self._redis = Redis(connection_pool=self.connection_pool)
        self._names = (self.queue_name, self.consumer_group_name, self.consumer_name)
        self._held = set[bytes]()
        self._stop = asyncio.Event()
        self._stopped = False

    async def work(self, stop_seconds: float) -> None:
        """Until SIGTERM or SIGINT, and then for up to `stop_seconds`."""
        receiver = Receiver(
            self,
            validate_params=False,
            max_async_tasks=HELD_AT_ONCE,
            run_startup=False,
            wait_tasks_timeout=stop_seconds,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        renewal = asyncio.create_task(self._renew())
        logger.info("The worker is ready")
        await receiver.listen(self._stop)
        renewal.cancel()

    async def wait_all(self) -> None:
        """work() has waited. What still runs is not acknowledged: another worker does it."""
        self._stopped = True

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        cursor, is_away = b"0-0", True
        while not self._stop.is_set():  # the driver may have swallowed the receiver's cancellation
            try:
                if is_away:
                    await self.startup()  # Redis may have lost the group too
                    is_away = False
                cursor, entries = await self._next(cursor)
            except RedisError as error:
                logger.error("The queue is away: %s", error)
                is_away = True
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            for key, fields in entries:
                self._held.add(key)
                yield AckableMessage(data=fields[b"data"], ack=partial(self._acknowledge, key))

    async def _next(self, cursor: bytes) -> tuple[bytes, list[Any]]:
        """One entry at most: who has more than they run keeps them from others."""
        idle = TAKE_OVER_SECONDS * 1000
        cursor, entries, *_ = await self._redis.xautoclaim(*self._names, idle, cursor, count=1)
        if not entries:
            _, group, consumer = self._names
            block = int(BLOCK_SECONDS * 1000)
            streams: Any = await self._redis.xreadgroup(
                group, consumer, {self.queue_name: ">"}, count=1, block=block
            )
            entries = [entry for _, found in streams or () for entry in found]
        return cursor, entries

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(TAKE_OVER_SECONDS / 3)
            if self._held:
                with suppress(RedisError):  # listen() says so
                    await self._redis.xclaim(*self._names, 0, [*self._held], justid=True)

    async def _acknowledge(self, key: bytes) -> None:
        if self._stopped:
            return
        stream, group, _ = self._names
        try:
            async for attempt in stamina.retry_context(on=RedisError, wait_initial=AGAIN_SECONDS):
                with attempt:
                    await self._redis.xack(stream, group, key)
                    await self._redis.xdel(stream, key)
        except RedisError as error:
            logger.error("A job is done and will be done again, since the queue is away: %s", error)
        finally:
            self._held.discard(key)
