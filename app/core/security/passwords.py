"""Hashes of passwords."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from passlib.context import CryptContext

MAX_PASSWORD_CHARACTERS = 128

ResultT = TypeVar("ResultT")


def is_encodable(text: str) -> bool:
    """Lone surrogates are not: neither a hash nor a database takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Passwords:
    """argon2id, in a bounded number of threads of one lane each: more would take the cores that
    the event loop needs, and be done no sooner."""

    def __init__(self, threads: int) -> None:
        self._context = CryptContext(["argon2"], argon2__parallelism=1)
        self._limiter = CapacityLimiter(threads)

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._context.hash, password))

    async def verify(self, password: str, hash_: str | None) -> tuple[bool, str | None]:
        """Whether it matches, and a new hash where the old one has fallen behind.

        Without a hash it takes the same time, so that nobody learns who has an account.
        """
        if len(password) > MAX_PASSWORD_CHARACTERS or not is_encodable(password):
            password, hash_ = "", None
        return await self._run(partial(self._context.verify_and_update, password, hash_))

    async def _run(self, call: Callable[[], ResultT]) -> ResultT:
        # Shielded, since a thread goes on when its caller is cancelled, and has to count.
        running = asyncio.ensure_future(to_thread.run_sync(call, limiter=self._limiter))
        return await asyncio.shield(running)
