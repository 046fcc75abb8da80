"""Rate limits, counted in Redis or, without REDIS_URL, in this process."""

import asyncio
import hmac
import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

from fastapi import Depends
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.requests import HTTPConnection

from app.core.errors import TooManyRequests
from app.core.resources import resources_of
from app.core.security.client import site_of

if TYPE_CHECKING:  # A server without Redis starts faster if it does not import the client.
    from redis.asyncio import BlockingConnectionPool

REDIS_SECONDS = 0.5  # A sign-in does not wait longer for Redis.
REDIS_CONNECTIONS = 20
RETRY_SECONDS = 5  # While Redis is unavailable, this long passes between attempts.
SITE_FACTOR = 10  # a site of IPv6 has 65,536 networks
MAX_KEYS = 50_000  # for each window length, about 40 MB; then the longest idle key is dropped

ResultT = TypeVar("ResultT")
logger = logging.getLogger("app.rate_limit")


class RateLimitStatus(NamedTuple):
    """The number of requests that are left, and the seconds until there are more."""

    remaining: int
    reset_seconds: int


class RateLimiter:
    """A rate limiter with moving windows.

    It never admits more than the limit within any window, and knows to the second when it admits
    the next request. Fixed windows admit twice the limit where two of them meet, and a sliding
    counter only estimates, so that its reset is too early. On Redis, one script counts and decides
    atomically. While Redis is unavailable, each process counts by itself.
    """

    def __init__(self, redis_url: str | None, key: bytes) -> None:
        self._key = key
        self._memory = MovingWindowRateLimiter(MemoryWindows())
        self._pool = _create_pool(redis_url) if redis_url else None
        self._redis = _create_redis_limiter(self._pool) if self._pool else None
        self._redis_errors = _load_redis_errors() if redis_url else ()
        self._retry_at = 0.0

    async def hit(self, policy: str, limit: RateLimitItem, *key: str) -> None:
        """Count a request. Raise TooManyRequests beyond the limit, without counting it."""
        digest = self._digest(key)
        if not await self._query(lambda windows: windows.hit(limit, policy, digest)):
            reset_seconds = (await self.status(policy, limit, *key)).reset_seconds
            raise TooManyRequests(policy, limit.amount, limit.get_expiry(), reset_seconds)

    async def hit_network(self, policy: str, limit: RateLimitItem, network: str, *key: str) -> None:
        """Count a request of a network, and of its IPv6 site, whose limit is ten times as high."""
        await self.hit(policy, limit, network, *key)
        if site := site_of(network):
            await self.hit(f"{policy}-site", multiplied(limit, SITE_FACTOR), site, *key)

    async def check(self, policy: str, limit: RateLimitItem, *key: str) -> None:
        """Raise TooManyRequests at the limit. Nothing is counted."""
        remaining, reset_seconds = await self.status(policy, limit, *key)
        if remaining <= 0:
            raise TooManyRequests(policy, limit.amount, limit.get_expiry(), reset_seconds)

    async def status(self, policy: str, limit: RateLimitItem, *key: str) -> RateLimitStatus:
        digest = self._digest(key)
        stats = await self._query(lambda windows: windows.get_window_stats(limit, policy, digest))
        return RateLimitStatus(stats.remaining, max(1, ceil(stats.reset_time - time.time())))

    async def is_healthy(self) -> bool:
        """Return False while Redis is configured and unavailable."""
        if self._pool is None:
            return True
        from redis.asyncio import Redis

        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await Redis(connection_pool=self._pool).ping()
        except self._redis_errors:
            return False
        return True

    async def close(self) -> None:
        if self._pool:
            with suppress(*self._redis_errors):
                await self._pool.aclose()

    def _digest(self, key: tuple[str, ...]) -> str:
        """Return a keyed hash, so that readers of Redis can neither see nor guess addresses."""
        return hmac.digest(self._key, json.dumps(key).encode(), "sha256")[:16].hex()

    async def _query(
        self, query: Callable[[MovingWindowRateLimiter], Awaitable[ResultT]]
    ) -> ResultT:
        if self._redis and time.monotonic() >= self._retry_at:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await query(self._redis)
            except self._redis_errors as error:
                self._fall_back(error)
        return await query(self._memory)

    def _fall_back(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._retry_at:  # Calls that fail at the same time log it once.
            self._retry_at = now + RETRY_SECONDS
            cause = str(error) or "no answer in time"
            logger.warning(
                "Redis is unavailable: each process counts rate limits by itself (%s)", cause
            )


def multiplied(limit: RateLimitItem, factor: int) -> RateLimitItem:
    return type(limit)(limit.amount * factor, limit.multiples)


class MemoryWindows(MemoryStorage):
    """A storage in memory that keeps the times of the newest hits of each key.

    The library's own storage visits all keys at each hit, each in a thread: a thousand keys and a
    hundred hits a second take a whole core. Here each hit visits two other keys, and drops them if
    they are idle.
    """

    def __init__(self) -> None:
        super().__init__()
        # A dict for each window length, so that its keys are in the order in which they expire.
        self._windows: defaultdict[int, dict[str, deque[float]]] = defaultdict(dict)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        windows, start = self._windows[expiry], time.time() - expiry
        for oldest in [*islice(windows, 2)]:
            if windows[oldest][-1] < start:
                del windows[oldest]
        times = windows.pop(key, None) or deque(maxlen=limit)
        if len(windows) >= MAX_KEYS:
            del windows[next(iter(windows))]
        windows[key] = times
        if len(times) == limit and times[0] >= start:
            return False
        times.append(time.time())
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = time.time()
        times = [hit for hit in self._windows[expiry].get(key, ()) if hit >= now - expiry]
        return (times[0], len(times)) if times else (now, 0)


def _load_redis_errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError


def _create_pool(url: str) -> "BlockingConnectionPool":
    from redis.asyncio import BlockingConnectionPool

    return BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=None,  # `_query` limits how long a call waits for a connection.
        # With a time-out the driver sends by asyncio.wait_for, which loses cancellations in Python
        # 3.11: sometimes a Redis that hangs would hold a request for that long.
        socket_timeout=None,
        socket_connect_timeout=REDIS_SECONDS,
        driver_info=None,  # Otherwise each connection reads files to find the client's version.
        protocol=2,  # With 3, each connection checks for notices that only Redis Cloud sends.
    )


def _create_redis_limiter(pool: "BlockingConnectionPool") -> MovingWindowRateLimiter:
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix="limits",
        connection_pool=pool,  # type: ignore[arg-type]  # It is documented, but not typed.
    )
    return MovingWindowRateLimiter(storage)


async def get_rate_limiter(connection: HTTPConnection) -> RateLimiter:
    return resources_of(connection).rate_limiter


RateLimiterDep = Annotated[RateLimiter, Depends(get_rate_limiter)]
