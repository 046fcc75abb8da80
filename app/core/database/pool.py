"""A connection pool that is fair: requests get connections in the order in which they asked."""

import asyncio
import time
from collections import deque
from typing import Any

import asyncpg
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, ManagesConnection
from sqlalchemy.util import await_

from app.core.errors import Overloaded

SMOOTHING = 100  # The rate at which slots are released is that of about so many releases.
SEMAPHORE_KEY = "semaphore"  # in the record_info of a connection that is checked out


class FairSemaphore:
    """A semaphore that wakes its waiters in order, with a time-out.

    Waiting costs less than a query, unlike asyncio.timeout() around asyncio.Semaphore.
    """

    def __init__(self, free: int) -> None:
        self.free = free
        self.waiting = 0
        self._waiters = deque[asyncio.Future[bool]]()
        # The time since which somebody has waited and nobody has got a slot. None if nobody waits.
        self._stalled_at: float | None = None
        self._release_seconds = 0.0  # between two releases while somebody waits, on average

    async def acquire(self, seconds: float) -> None:
        """Wait for a slot. Raise Overloaded if none is free within the given time.

        Raise it at once if too many others wait, at the rate at which slots are released.
        """
        if self.free:
            self.free -= 1
            return
        if self.waiting * self._release_seconds > seconds:
            raise _overloaded() from TimeoutError(f"{self.waiting} others wait")
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        if self._stalled_at is None:
            self._stalled_at = time.monotonic()
        timer = loop.call_later(seconds, _resolve, waiter, False)
        self.waiting += 1
        try:
            is_free = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.release()  # It got the slot in the moment of the cancellation.
            raise
        finally:
            self.waiting -= 1
            timer.cancel()
        if not is_free:
            raise _overloaded() from TimeoutError(f"after {seconds} s")

    def release(self) -> None:
        if self._stalled_at is not None:
            elapsed = self.stalled_seconds()
            self._release_seconds += (elapsed - self._release_seconds) / SMOOTHING
        while self._waiters:
            waiter = self._waiters.popleft()
            # Waiters that have timed out are still in the queue, so that this is never left out.
            self._stalled_at = time.monotonic() if self._waiters else None
            if _resolve(waiter, True):
                return
        self.free += 1

    def stalled_seconds(self) -> float:
        """Return for how long somebody has waited and nobody has got a slot.

        The time goes on when all waiters have timed out, until a slot is released.
        """
        return 0 if self._stalled_at is None else time.monotonic() - self._stalled_at


def _overloaded() -> Overloaded:
    return Overloaded("All connections to the database are in use. Try again in a moment.")


def _resolve(waiter: asyncio.Future[bool], is_free: bool) -> bool:
    """Wake a waiter. Return False if it was cancelled or has timed out."""
    if waiter.done():
        return False
    waiter.set_result(is_free)
    return True


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool behind a fair semaphore with a slot for each connection.

    By itself, the pool wakes the longest waiter, but a newcomer can take the connection before that
    waiter runs. Under load, some requests would wait for seconds. The pool has no overflow, since
    an overflow connection is opened and closed for a single use.
    """

    def __init__(
        self, creator: Any, pool_size: int = 5, timeout: float = 30, **options: Any
    ) -> None:
        options |= {"max_overflow": 0, "use_lifo": True}
        super().__init__(creator, pool_size=pool_size, timeout=timeout, **options)
        self._semaphore = FairSemaphore(pool_size)
        self._seconds = timeout
        self._is_admitted = False
        # Connections that are free here, but checked out of SQLAlchemy's pool: see `put_back`.
        self._ready = list[PoolProxiedConnection]()
        self._recycled_at = float("-inf")

    def in_use(self) -> int:
        """Return how many connections are in use. `checkedout` includes those that are ready."""
        return self.size() - self._semaphore.free

    def waiting(self) -> int:
        """Return how many tasks wait for a connection."""
        return self._semaphore.waiting

    def stalled_seconds(self) -> float:
        """Return for how long somebody has waited and nobody has got a connection."""
        return self._semaphore.stalled_seconds()

    async def admit(self) -> None:
        """Wait for a slot, and leave it to `connect`, which has to be called at once.

        Raise Overloaded after the pool's time-out.
        """
        await self._semaphore.acquire(self._seconds)
        self._is_admitted = True

    def connect(self) -> PoolProxiedConnection:
        if not self._is_admitted:
            await_(self.admit())
        self._is_admitted = False
        try:
            connection = self._ready.pop() if self._ready else super().connect()
            if self._is_unusable(connection):
                connection.invalidate()
                connection.close()
                connection = super().connect()  # This opens another one.
        except BaseException:
            self._semaphore.release()
            raise
        connection.record_info[SEMAPHORE_KEY] = self._semaphore  # type: ignore[index]  # it is in the pool
        return connection

    def put_back(self, connection: PoolProxiedConnection) -> None:
        """Return a connection without SQLAlchemy's check-in.

        A check-in and the next check-out cost a tenth of a request that reads one row.
        """
        if not connection.is_valid or _is_in_transaction(connection):
            connection.close()
            return
        connection.record_info.pop(SEMAPHORE_KEY)  # type: ignore[union-attr]  # it is in the pool
        self._ready.append(connection)
        self._semaphore.release()

    def dispose(self) -> None:
        while self._ready:
            self._ready.pop().close()
        super().dispose()

    def recycle_all(self) -> None:
        """Replace every connection that was opened before now when it is next checked out."""
        self._recycled_at = time.monotonic()

    def _is_unusable(self, connection: PoolProxiedConnection) -> bool:
        """Return whether the connection was closed while it was idle, or has to be replaced.

        Unlike `pool_pre_ping`, this costs no round trip.
        """
        return connection.info["opened_at"] <= self._recycled_at or _is_closed(connection)


def _is_closed(connection: ManagesConnection) -> bool:
    driver: Any = connection.driver_connection
    return isinstance(driver, asyncpg.Connection) and driver.is_closed()


def _is_in_transaction(connection: ManagesConnection) -> bool:
    driver: Any = connection.driver_connection
    return isinstance(driver, asyncpg.Connection) and driver.is_in_transaction()


def _record_opening(_: object, entry: ConnectionPoolEntry) -> None:
    entry.info["opened_at"] = time.monotonic()


def _on_checkin(_: object, entry: ConnectionPoolEntry) -> None:
    slots: FairSemaphore | None = entry.record_info.pop(SEMAPHORE_KEY, None)  # type: ignore[union-attr]  # it is a dict
    if slots:
        slots.release()
    if _is_in_transaction(entry):
        driver: Any = entry.driver_connection
        driver.terminate()  # No open transaction may get into the pool, whatever the error was.


# They are options of the engine, whose listeners each pool gets from the one that it replaces.
POOL_EVENTS = [(_record_opening, "connect"), (_on_checkin, "checkin")]
