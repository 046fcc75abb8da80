"""The storage of files in a local folder."""

import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from anyio import open_file, to_thread

from app.core.storage.storage import CHUNK_BYTES, FILES_PER_PAGE, StoredFile


class LocalFolder:
    """Files in a folder that only the server's user can read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, file: BinaryIO) -> None:
        await to_thread.run_sync(self._put, key, file)

    async def read(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        async with await open_file(self._root / key, "rb") as file:
            await file.seek(start)
            while start < stop and (chunk := await file.read(min(CHUNK_BYTES, stop - start))):
                start += len(chunk)
                yield chunk

    async def delete(self, keys: Sequence[str]) -> None:
        await to_thread.run_sync(self._delete, keys)

    async def list(self, folder: str) -> AsyncIterator[Sequence[StoredFile]]:
        files = await to_thread.run_sync(self._list, folder)
        for start in range(0, len(files), FILES_PER_PAGE):
            yield files[start : start + FILES_PER_PAGE]

    def _put(self, key: str, file: BinaryIO) -> None:
        """Write a draft, and rename it when the disk has all of it."""
        path = self._root / key
        for folder in (self._root, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{token_hex(4)}")
        try:
            with draft.open("xb") as copy:
                shutil.copyfileobj(file, copy, CHUNK_BYTES)
                copy.flush()
                os.fsync(copy.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        folder_handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder_handle)  # The new name is on the disk as well.
        finally:
            os.close(folder_handle)

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            (self._root / key).unlink(missing_ok=True)

    def _list(self, folder: str) -> Sequence[StoredFile]:
        """Return all files, and the drafts that a process left when it died."""
        path = self._root / folder
        if not path.exists():
            return []
        files = list[StoredFile]()
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # It was deleted or renamed meanwhile.
                    stored_at = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
                    files.append(StoredFile(f"{folder}/{entry.name}", stored_at))
        return files
