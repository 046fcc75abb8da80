import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

import pytest

from app.core.database.models import utc_now
from app.core.errors import Unavailable
from app.core.storage.folder import LocalFolder
from app.core.storage.storage import CHUNK_BYTES, Storage, new_key
from app.resources import build_storage
from tests.core.storage.conftest import s3_settings

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def file_on_disk() -> Iterator[BinaryIO]:
    """Yield a file as Starlette gives a large upload."""
    with SpooledTemporaryFile(max_size=10) as file:
        file.write(CONTENT)
        file.seek(0)
        yield file  # type: ignore[misc]  # It is a BinaryIO in all but name.


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_stored_file_is_read_whole_in_part_and_listed_until_it_is_deleted(
    storage: Storage, file_on_disk: BinaryIO
) -> None:
    key, other = new_key("things"), new_key("others")
    await storage.put(key, file_on_disk)
    await storage.put(other, BytesIO(b"x"))
    assert await joined(storage.read(key, 0, len(CONTENT))) == CONTENT
    assert await joined(storage.read(key, 300, CHUNK_BYTES + 700)) == CONTENT[300:66_236]
    (listed,) = [each async for page in storage.list("things") for each in page]
    assert listed.key == key
    assert abs(utc_now() - listed.stored_at) < timedelta(hours=1)
    await storage.delete([key, new_key("things")])
    with pytest.raises(FileNotFoundError):
        await joined(storage.read(key, 0, 1))
    assert [page async for page in storage.list("things") if page] == []
    await storage.delete([other])


def test_files_of_a_folder_are_readable_by_the_user_of_the_server_only(tmp_path: Path) -> None:
    root = tmp_path / "data" / "files"
    asyncio.run(LocalFolder(root).put("things/1", BytesIO(b"x")))
    assert [stat.S_IMODE(each.stat().st_mode) for each in (root, root / "things")] == [0o700] * 2


class BrokenFile(BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("The disk is broken")
        return super().read(10)


def test_file_that_cannot_be_copied_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="The disk is broken"):
        asyncio.run(LocalFolder(tmp_path).put("things/1", BrokenFile(CONTENT)))
    assert [*(tmp_path / "things").iterdir()] == []


@pytest.mark.slow("the library tries again")
async def test_unreachable_bucket_is_unavailable() -> None:
    storage = build_storage(s3_settings("http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="storage of files is unavailable"):
        await storage.put("things/1", BytesIO(b"x"))
