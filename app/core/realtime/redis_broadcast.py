"""Events from process to process, by Redis' pub/sub."""

import asyncio
import json
import random
from contextlib import suppress
from uuid import uuid4

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.realtime.broadcast import LOST, Broadcast, logger

ANSWER_SECONDS = 5
BEAT_SECONDS = 5
SILENCE_SECONDS = 15  # three beats
LONGEST_PAUSE_SECONDS = 5
START_SECONDS = FLUSH_SECONDS = 1
MAX_WAITING = 10_000
BATCH = 100
AWAY = (RedisError, OSError)


class RedisBroadcast(Broadcast):
    """Whoever listens in this process is told at once, also while Redis is away, and this process
    skips its own messages as they come back. (Told by Redis alone, nobody would hear a thing while
    it is away, and all would hear it later.) To publish only puts a message into the outbox: no
    request waits for Redis.

    - The outbox is kept while Redis is away. When it is full, LOST takes the place of all of it.
    - What others said while this process was cut off is lost: it tells LOST to its own listeners
      as soon as it hears the others again.
    - Each process hears its own heartbeat: a link that is dead without a word is found by that.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # see rate_limit.py for these four
            socket_connect_timeout=ANSWER_SECONDS,
            driver_info=None,
            protocol=2,
        )
        self._redis = Redis(connection_pool=self._pool)
        # A channel is seen from every database of the server.
        self._channel = f"events:{self._pool.connection_kwargs.get('db', 0)}"
        self._name = uuid4().hex
        self._outbox = asyncio.Queue[str](MAX_WAITING)
        self._unsent: list[str] = []  # taken from the outbox
        self._link: asyncio.Task[None] | None = None
        self._linked = asyncio.Event()

    async def start(self) -> None:
        """Waits for Redis a moment, so that who listens from here on misses nothing."""
        self._link = asyncio.create_task(self._stay_linked())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._linked.wait()

    async def close(self) -> None:
        """With what is in the outbox, if that takes no time."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outbox.join()
        except TimeoutError:
            logger.error("Events may be lost: Redis is unavailable")
        while self._link and not self._link.done():  # a driver may swallow a cancellation
            self._link.cancel()
            await asyncio.wait([self._link], timeout=FLUSH_SECONDS)
        await self._pool.aclose()

    def _forward(self, topic: str, message: str) -> None:
        if self._outbox.full():
            logger.error("Too many events wait for Redis: they are dropped")
            while not self._outbox.empty():
                self._outbox.get_nowait()
                self._outbox.task_done()
            topic, message = LOST, ""
        self._outbox.put_nowait(self._envelope(topic, message))

    def _envelope(self, topic: str, message: str) -> str:
        return json.dumps([self._name, topic, message])

    async def _stay_linked(self) -> None:
        failures = 0
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await pubsub.subscribe(self._channel)
                        await pubsub.get_message(timeout=None)  # the confirmation
                    if failures:
                        logger.warning("Redis is back: events reach the other processes again")
                    failures = 0
                    self._tell(LOST, "")
                    self._linked.set()
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._receive(pubsub))
                        tasks.create_task(self._send())
            except* AWAY as group:
                failures += 1
                if failures == 1:
                    why = repr(group.exceptions[0])
                    logger.warning("Redis is unavailable: events reach only this process (%s)", why)
            pause = min(LONGEST_PAUSE_SECONDS, 0.1 * 2**failures)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret

    async def _receive(self, pubsub: PubSub) -> None:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await pubsub.get_message(timeout=None)
            try:
                sender, topic, text = json.loads(message["data"])
            except (TypeError, ValueError):
                logger.error("Ignored a message that is not an event: %r", message)
                continue
            if sender != self._name:
                self._tell(topic, text)
                await asyncio.sleep(0)  # many may have come at once

    async def _send(self) -> None:
        while True:
            if not self._unsent:
                self._unsent = await self._next()
            async with asyncio.timeout(ANSWER_SECONDS), self._redis.pipeline(False) as pipeline:
                for envelope in self._unsent or [self._envelope("", "")]:  # or the heartbeat
                    pipeline.publish(self._channel, envelope)
                await pipeline.execute()
            for _ in self._unsent:
                self._outbox.task_done()
            self._unsent = []

    async def _next(self) -> list[str]:
        """Some of the outbox, or nothing when it is time for a heartbeat."""
        envelopes = []
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                envelopes.append(await self._outbox.get())
        while len(envelopes) < BATCH and not self._outbox.empty():
            envelopes.append(self._outbox.get_nowait())
        return envelopes
