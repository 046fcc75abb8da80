"""A limit on the number of calls that one user can have running at a time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import TooManyAtOnce

WAIT_SECONDS = 10


class ConcurrencyLimit:
    """A semaphore for each key, so that one user cannot occupy what all users share.

    Up to `limit` calls of a key run at a time. Others wait, and raise TooManyAtOnce after
    WAIT_SECONDS.
    """

    def __init__(self, limit: int, text: str) -> None:
        """Limit the calls. The text, which may hold {limit}, is for users who exceed it."""
        self._limit = limit
        self._text = text
        self._semaphores = dict[int, asyncio.Semaphore]()
        self._calls = Counter[int]()  # running and waiting

    @asynccontextmanager
    async def hold(self, key: int) -> AsyncIterator[None]:
        semaphore = self._semaphores.setdefault(key, asyncio.Semaphore(self._limit))
        self._calls[key] += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await semaphore.acquire()
            except TimeoutError as error:
                raise TooManyAtOnce(self._text, limit=self._limit) from error
            try:
                yield
            finally:
                semaphore.release()
        finally:
            self._calls[key] -= 1
            if not self._calls[key]:
                del self._calls[key], self._semaphores[key]
