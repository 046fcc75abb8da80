"""A broadcast between processes over Redis pub/sub. It is imported only if REDIS_URL is set."""

import asyncio
import json
import random
from contextlib import suppress
from uuid import uuid4

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.realtime.broadcast import EVENTS_LOST, Broadcast, logger

RESPONSE_SECONDS = 5
HEARTBEAT_SECONDS = 5
HEARTBEAT_TIMEOUT_SECONDS = 15  # three beats
MAX_RECONNECT_SECONDS = 5
START_SECONDS = FLUSH_SECONDS = 1
MAX_QUEUED_MESSAGES = 10_000
BATCH = 100
CONNECTION_ERRORS = (RedisError, OSError)


class RedisBroadcast(Broadcast):
    """A broadcast that also sends each event to the other processes by Redis.

    Listeners of this process get an event directly, so that they get it at once and also while
    Redis is unavailable. The process ignores its own messages when Redis returns them. Publishing
    only appends to the outbox: no request waits for Redis.

    - The outbox is kept while Redis is unavailable. When it is full, one EVENTS_LOST replaces it.
    - A process that was disconnected has missed the others' events. It delivers EVENTS_LOST to its
      own listeners as soon as it is connected again.
    - Each process receives its own heartbeats. If they stop, the connection is dead although the
      socket reports no error.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # rate_limit.py gives the reasons for these four options
            socket_connect_timeout=RESPONSE_SECONDS,
            driver_info=None,
            protocol=2,
        )
        self._redis = Redis(connection_pool=self._pool)
        # Channels are shared by all databases of a Redis server, so the name includes the number.
        self._channel = f"events:{self._pool.connection_kwargs.get('db', 0)}"
        self._name = uuid4().hex
        self._outbox = asyncio.Queue[str](MAX_QUEUED_MESSAGES)
        self._unsent: list[str] = []  # taken from the outbox
        self._connection_task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    async def start(self) -> None:
        """Wait briefly for the connection, so that listeners that subscribe next miss nothing."""
        self._connection_task = asyncio.create_task(self._stay_connected())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._connected.wait()

    async def close(self) -> None:
        """Send the rest of the outbox, within FLUSH_SECONDS, and disconnect."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outbox.join()
        except TimeoutError:
            logger.error("Events may be lost: Redis is unavailable")
        # A driver may swallow a cancellation, so this repeats it until the task has ended.
        while self._connection_task and not self._connection_task.done():
            self._connection_task.cancel()
            await asyncio.wait([self._connection_task], timeout=FLUSH_SECONDS)
        await self._pool.aclose()

    def _forward(self, topic: str, message: str) -> None:
        if self._outbox.full():
            logger.error("Too many events wait for Redis: they are dropped")
            while not self._outbox.empty():
                self._outbox.get_nowait()
                self._outbox.task_done()
            topic, message = EVENTS_LOST, ""
        self._outbox.put_nowait(self._envelope(topic, message))

    def _envelope(self, topic: str, message: str) -> str:
        return json.dumps([self._name, topic, message])

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    async with asyncio.timeout(RESPONSE_SECONDS):
                        await pubsub.subscribe(self._channel)
                        await pubsub.get_message(timeout=None)  # confirms the subscription
                    if failures:
                        logger.warning("Redis is back: events reach the other processes again")
                    failures = 0
                    self._deliver(EVENTS_LOST, "")
                    self._connected.set()
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._receive(pubsub))
                        tasks.create_task(self._send())
            except* CONNECTION_ERRORS as group:
                failures += 1
                if failures == 1:
                    cause = repr(group.exceptions[0])
                    logger.warning(
                        "Redis is unavailable: events reach only this process (%s)", cause
                    )
            pause = min(MAX_RECONNECT_SECONDS, 0.1 * 2**failures)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - it is not a secret

    async def _receive(self, pubsub: PubSub) -> None:
        while True:
            async with asyncio.timeout(HEARTBEAT_TIMEOUT_SECONDS):
                message = await pubsub.get_message(timeout=None)
            try:
                sender, topic, text = json.loads(message["data"])
            except (TypeError, ValueError):
                logger.error("Ignored a message that is not an event: %r", message)
                continue
            if sender != self._name:
                self._deliver(topic, text)
                await asyncio.sleep(0)  # Let others run: many messages may arrive at once.

    async def _send(self) -> None:
        while True:
            if not self._unsent:
                self._unsent = await self._next_batch()
            async with asyncio.timeout(RESPONSE_SECONDS), self._redis.pipeline(False) as pipeline:
                for envelope in self._unsent or [self._envelope("", "")]:  # a heartbeat
                    pipeline.publish(self._channel, envelope)
                await pipeline.execute()
            for _ in self._unsent:
                self._outbox.task_done()
            self._unsent = []

    async def _next_batch(self) -> list[str]:
        """Return the next messages of the outbox, or none when it is time for a heartbeat."""
        envelopes = []
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                envelopes.append(await self._outbox.get())
        while len(envelopes) < BATCH and not self._outbox.empty():
            envelopes.append(self._outbox.get_nowait())
        return envelopes
