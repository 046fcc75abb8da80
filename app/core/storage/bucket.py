"""The storage of files in a bucket of S3, or of a service that is compatible with it."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.storage.storage import FILES_PER_PAGE, StoredFile

if TYPE_CHECKING:  # The library has these names only for type checkers.
    from obstore.store import ClientConfig, RetryConfig, S3Config

CLIENT: "ClientConfig" = {"allow_http": True, "connect_timeout": "5s", "timeout": "30s"}
RETRIES: "RetryConfig" = {"max_retries": 2}
PART_BYTES = 1_048_576


class Bucket:
    """Files in a bucket. It reads and writes on threads of its own."""

    def __init__(self, settings: Settings) -> None:
        config: S3Config = {"bucket": settings.s3_bucket or "", "region": settings.s3_region}
        if settings.s3_endpoint:
            config["endpoint"] = settings.s3_endpoint
        if settings.s3_access_key_id and settings.s3_secret_access_key:
            config["access_key_id"] = settings.s3_access_key_id
            config["secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
        self._store = S3Store(config=config, client_options=CLIENT, retry_config=RETRIES)

    async def put(self, key: str, file: BinaryIO) -> None:
        with _raise_unavailable():
            await obstore.put_async(self._store, key, file)

    async def read(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        # In parts, since the time-out is for a whole response, and the client may be slow.
        for part in range(start, stop, PART_BYTES):
            with _raise_unavailable():
                end = min(part + PART_BYTES, stop)
                content = await obstore.get_range_async(self._store, key, start=part, end=end)
            yield bytes(content)

    async def delete(self, keys: Sequence[str]) -> None:
        with _raise_unavailable():
            await obstore.delete_async(self._store, keys)

    async def list(self, folder: str) -> AsyncIterator[Sequence[StoredFile]]:
        with _raise_unavailable():
            async for page in obstore.list(self._store, folder, chunk_size=FILES_PER_PAGE):
                yield [StoredFile(each["path"], each["last_modified"]) for each in page]


@contextmanager
def _raise_unavailable() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise Unavailable("The storage of files is unavailable. Try again in a moment.") from error
