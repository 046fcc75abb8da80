"""A pool of connections that are given out first come, first served."""

import asyncio
import time
from collections import deque
from typing import Any

import asyncpg
from sqlalchemy import PoolProxiedConnection, event
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, ManagesConnection
from sqlalchemy.util import await_

from app.core.errors import Unavailable

SEMAPHORE_KEY = "slot"  # in the info of a connection's place in the pool


class FairSemaphore:
    """A semaphore that is first come, first served.

    Unlike asyncio.timeout() around asyncio.Semaphore, waiting costs less than a query does.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiters = deque[asyncio.Future[bool]]()

    async def acquire(self, seconds: float) -> None:
        """Raise Unavailable when no slot was free for so long."""
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(seconds, _resolve, waiter, False)
        try:
            is_free = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.release()  # it was given the slot at the last moment
            raise
        finally:
            timer.cancel()
        if not is_free:
            late = TimeoutError(f"after {seconds} s")
            raise Unavailable("All connections to the database are in use.") from late

    def release(self) -> None:
        while self._waiters:
            if _resolve(self._waiters.popleft(), True):
                return
        self._free += 1


def _resolve(waiter: asyncio.Future[bool], is_free: bool) -> bool:
    if waiter.done():  # it was cancelled, or was too late
        return False
    waiter.set_result(is_free)
    return True


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool behind a semaphore that admits as many as there are connections.

    Alone, it wakes the longest waiter, but lets a newcomer take the connection before that waiter
    runs: under load some would wait for seconds. It has no overflow, since such a connection would
    be opened and closed for a single use.
    """

    def __init__(
        self, creator: Any, pool_size: int = 5, timeout: float = 30, **options: Any
    ) -> None:
        options |= {"max_overflow": 0, "use_lifo": True}
        super().__init__(creator, pool_size=pool_size, timeout=timeout, **options)
        self._semaphore = FairSemaphore(pool_size)
        self._seconds = timeout
        self._is_admitted = False
        # Free, but checked out of SQLAlchemy's pool: see `put_back`.
        self._ready = list[PoolProxiedConnection]()
        self._recycled_at = float("-inf")
        event.listen(self, "connect", _record_opening)
        event.listen(self, "checkin", _on_checkin)

    async def admit(self) -> None:
        """Wait for a slot, which the next call of `connect` takes: it has to follow at once.

        Raise Unavailable after the pool's timeout.
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
                connection = super().connect()  # opens another one
        except BaseException:
            self._semaphore.release()
            raise
        connection.record_info[SEMAPHORE_KEY] = self._semaphore  # type: ignore[index]  # it is in the pool
        return connection

    def put_back(self, connection: PoolProxiedConnection) -> None:
        """Free a connection without its `close`: what SQLAlchemy does at a check-in and at the next
        check-out costs a tenth of a request that reads one row."""
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
        """Tell what was cut while it was idle. Unlike `pool_pre_ping` it costs no round trip."""
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
        driver.terminate()  # an open transaction never gets into the pool, whatever went wrong
