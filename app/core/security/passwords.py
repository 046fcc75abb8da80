"""Passwords: which are accepted, and their hashes.

They are hashed in threads, since it takes a core for a good part of a second.
"""

import asyncio
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from string import digits
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from passlib.context import CryptContext

# In the form of `fold`. These are missing in the lists of the library.
COMMON_PASSWORDS = frozenset(Path(__file__).with_name("common_passwords.txt").read_text().split())
MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 128

ResultT = TypeVar("ResultT")


def normalize_password(password: str) -> str:
    """Return the one form of a password, however a keyboard composes its characters."""
    return unicodedata.normalize("NFKC", password)


def fold(text: str) -> str:
    """Return the letters and digits, in lower case."""
    folded = normalize_password(text).casefold()
    return "".join(character for character in folded if character.isalnum())


@cache
def common_words() -> bytes:
    """Return the common passwords, words and names of the library, a line each.

    One text takes a tenth of the memory that a set of them would, and it is as fast as is needed.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # It takes a moment, and few need it.

    words = {fold(word) for words in FREQUENCY_LISTS.values() for word in words}
    return "\n".join(["", *sorted(words - {""}), ""]).encode()


def is_common(password: str) -> bool:
    """Return whether a password is a common one or a common word, digits at either end left out."""
    folded = fold(password)
    forms = {folded, folded.strip(digits)} - {""}
    return folded in COMMON_PASSWORDS or any(
        f"\n{form}\n".encode() in common_words() for form in forms
    )


def is_one_of(names: Iterable[str], password: str) -> bool:
    """Return whether the password is one of the names, digits at either end left out."""
    folded = fold(password)
    return bool({folded, folded.strip(digits)} & ({fold(name) for name in names} - {""}))


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
        return await self._run(partial(self._context.hash, normalize_password(password)))

    async def verify(self, password: str, hash_: str | None) -> tuple[bool, str | None]:
        """Return whether the password matches, and a new hash if the old one is outdated.

        Without a hash this takes the same time, so that the time does not reveal whether an
        account exists.
        """
        if len(password) > MAX_PASSWORD_CHARACTERS or not is_encodable(password):
            password, hash_ = "", None
        return await self._run(partial(self._verify, password, hash_))

    def _verify(self, password: str, hash_: str | None) -> tuple[bool, str | None]:
        normal = normalize_password(password)
        matches, new_hash = self._context.verify_and_update(normal, hash_)
        if matches or normal == password:
            return matches, new_hash
        # Passwords were once hashed as they were typed.
        matches, _ = self._context.verify_and_update(password, hash_)
        return matches, self._context.hash(normal) if matches else None

    async def _run(self, call: Callable[[], ResultT]) -> ResultT:
        # Shielded: a thread continues when its caller is cancelled, and has to count until then.
        running = asyncio.ensure_future(to_thread.run_sync(call, limiter=self._limiter))
        return await asyncio.shield(running)
