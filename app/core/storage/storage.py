"""The storage of files by key: a local folder (`folder.py`), or a bucket of S3 (`bucket.py`).

A file is stored whole or not at all. Store it first and commit its row after that, so that a row
always has its file. A file without a row is left when a process dies in between, or when the row is
deleted together with another row. A scheduled job of the slice deletes such files.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import BinaryIO, NamedTuple, Protocol

CHUNK_BYTES = 65_536
FILES_PER_PAGE = 1000


class StoredFile(NamedTuple):
    key: str
    stored_at: datetime


@dataclass(frozen=True)
class Download:
    """A stored file, as a client gets it. `tag` changes when the content does."""

    key: str
    name: str
    media_type: str
    size: int
    tag: str


class Storage(Protocol):
    async def put(self, key: str, file: BinaryIO) -> None:
        """Store a file under a new key."""

    def read(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Yield the bytes of a part of a file. Raise FileNotFoundError."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete files. Those that do not exist are skipped."""

    def list(self, folder: str) -> AsyncIterator[Sequence[StoredFile]]:
        """Yield the files whose keys begin with a folder, a page at a time."""


def new_key(folder: str) -> str:
    """Return a random key, which says nothing about the file and cannot be guessed."""
    return f"{folder}/{token_hex(16)}"
