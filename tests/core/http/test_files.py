import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from app.core.http.files import disposition, send_file
from app.core.http.middleware.compression import Compression
from app.core.http.middleware.head import HeadAsGet
from app.core.storage.folder import LocalFolder
from app.core.storage.storage import Download
from tests.conftest import client_of

CONTENT = b"0123456789" * 20_000
SIZE = len(CONTENT)
FILE = Download("things/1", "digits.txt", "text/plain", SIZE, tag="digest")


def open_files(folder: Path) -> list[Path]:
    handles = [handle for handle in Path("/proc/self/fd").iterdir() if handle.exists()]
    return [target for each in handles if (target := each.readlink()).is_relative_to(folder)]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that has one file."""
    storage, app = LocalFolder(tmp_path), FastAPI()
    await storage.put(FILE.key, BytesIO(CONTENT))
    app.add_middleware(Compression)
    app.add_middleware(HeadAsGet)

    @app.get("/file")
    async def read_file(request: Request) -> Response:
        return await send_file(request, storage, FILE)

    async with client_of(app) as client:
        yield client


async def test_file_is_sent_whole_with_headers_that_make_it_harmless(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/file", headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 200
    assert response.content == CONTENT
    assert (
        response.headers.items()
        >= {
            "accept-ranges": "bytes",
            "content-disposition": 'attachment; filename="digits.txt"',
            "content-length": str(SIZE),  # It is not compressed.
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
            "content-type": "text/plain; charset=utf-8",
            "etag": '"digest"',
        }.items()
    )


@pytest.mark.parametrize("known", ['"other", "digest"', "*"])
async def test_file_that_the_client_has_returns_304(client: httpx.AsyncClient, known: str) -> None:
    response = await client.get("/file", headers={"If-None-Match": known})
    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize(
    ("field", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        (f"bytes=100-{SIZE + 5}", 100, SIZE),
        ("bytes=70000-", 70_000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE + 5}", 0, SIZE),
    ],
)
async def test_range_returns_206_with_that_part(
    client: httpx.AsyncClient, field: str, start: int, stop: int
) -> None:
    response = await client.get("/file", headers={"Range": field, "If-Range": '"digest"'})
    assert response.status_code == 206
    assert response.content == CONTENT[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize("field", [f"bytes={SIZE}-", "bytes=-0"])
async def test_range_outside_of_the_file_returns_416(client: httpx.AsyncClient, field: str) -> None:
    response = await client.get("/file", headers={"Range": field})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "fields",
    [
        {"Range": "bytes=0-1,3-4"},
        {"Range": "bytes=9-5"},
        {"Range": "bytes=-"},
        {"Range": "pages=0-1"},
        {"Range": "bytes=0-1", "If-Range": '"other"'},
        {"Range": "bytes=0-1", "If-Range": 'W/"digest"'},
    ],
)
async def test_range_that_does_not_apply_is_ignored(
    client: httpx.AsyncClient, fields: dict[str, str]
) -> None:
    response = await client.get("/file", headers=fields)
    assert response.status_code == 200
    assert len(response.content) == SIZE


def test_names_are_quoted_and_also_sent_in_utf_8() -> None:
    assert disposition('a "b".txt') == (
        "attachment; filename=\"a _b_.txt\"; filename*=UTF-8''a%20%22b%22.txt"
    )
    assert disposition("램프.png") == (
        "attachment; filename=\"__.png\"; filename*=UTF-8''%EB%9E%A8%ED%94%84.png"
    )


async def test_response_without_a_body_closes_the_file(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await client.head("/file")
    assert await asyncio.to_thread(open_files, tmp_path) == []
