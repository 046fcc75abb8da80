"""Password hashing, in threads, since it takes a core for a good part of a second."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from passlib.context import CryptContext

MAX_PASSWORD_CHARACTERS = 128

ResultT = TypeVar("ResultT")


def is_encodable(text: str) -> bool:
    """Return False for text with lone surrogates, which can be neither hashed nor stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Passwords:
    """Argon2id hashes, computed in a bounded number of threads with one lane each.

    More threads or lanes would take cores from the event loop without finishing sooner.
    """

    def __init__(self, threads: int) -> None:
        self._context = CryptContext(["argon2"], argon2__parallelism=1)
        self._limiter = CapacityLimiter(threads)

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._context.hash, password))

    async def verify(self, password: str, hash_: str | None) -> tuple[bool, str | None]:
        """Return whether the password matches, and a new hash if the old one is outdated.

        Without a hash this takes the same time, so that the time does not reveal whether an
        account exists.
        """
        if len(password) > MAX_PASSWORD_CHARACTERS or not is_encodable(password):
            password, hash_ = "", None
        return await self._run(partial(self._context.verify_and_update, password, hash_))

    async def _run(self, call: Callable[[], ResultT]) -> ResultT:
        # Shielded: a thread continues when its caller is cancelled, and has to count until then.
        running = asyncio.ensure_future(to_thread.run_sync(call, limiter=self._limiter))
        return await asyncio.shield(running)
