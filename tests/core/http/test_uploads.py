import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.types import Message

from app.core.http.middleware.body_limit import BodyLimit
from app.core.http.problems import add_exception_handlers
from app.core.http.uploads import UploadDep
from app.core.security import concurrency
from app.core.security.concurrency import ConcurrencyLimit
from app.core.security.principal import Principal
from tests.conftest import client_of, make_settings

LIMIT = 200_000
START = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}


async def sign_in(request: Request) -> None:
    request.scope["principal"] = Principal(1, uuid4(), frozenset(), is_superuser=False)


@pytest.fixture
def app() -> FastAPI:
    """Return an application with a route that takes an upload, and one that does not."""
    app, router = FastAPI(), APIRouter(prefix="/things", dependencies=[Depends(sign_in)])
    app.state.resources = SimpleNamespace(uploads=ConcurrencyLimit(1, "uploads"))
    settings = make_settings("sqlite+aiosqlite:///unused.db", max_upload_bytes=LIMIT)
    app.add_middleware(BodyLimit, settings=settings)

    @router.post("/{thing_id}/file")
    async def upload_file(thing_id: int, upload: UploadDep) -> tuple[str, int]:
        return upload.name, len(upload.content.read())

    @router.post("/{thing_id}")
    async def update_thing(thing_id: int) -> None: ...

    app.include_router(router, prefix="/api")
    add_exception_handlers(app)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def test_file_is_passed_to_the_endpoint(client: httpx.AsyncClient) -> None:
    content = b"x" * LIMIT
    response = await client.post("/api/things/1/file", files={"file": ("한글.txt", content)})
    assert response.json() == ["한글.txt", LIMIT]


@pytest.mark.parametrize("form", [{}, {"data": {"file": "text"}}, {"files": {"other": b"x"}}])
async def test_missing_file_is_an_empty_one(client: httpx.AsyncClient, form: object) -> None:
    response = await client.post("/api/things/1/file", **form)  # type: ignore[arg-type]  # They are options of httpx.
    assert response.json() == ["", 0]


async def test_limit_of_uploads_holds_for_their_routes_only(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield START
        for _ in range(10):
            yield b"x" * (LIMIT // 5)

    files = {"file": b"x" * (LIMIT + 65_536)}
    for too_large in (
        await client.post("/api/things/1/file", files=files),
        await client.post("/api/things/1/file", content=chunks(), headers=BOUNDARY),
        await client.post("/api/things/1", files={"file": b"x" * 65_536}),
    ):
        assert too_large.status_code == 413


async def test_more_than_one_file_returns_400(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/things/1/file", files=[("file", b"x"), ("file", b"y")])
    assert response.status_code == 400


async def test_upload_of_a_client_that_leaves_is_dropped(app: FastAPI) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": START + b"x" * 1000, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = list[Message]()

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in BOUNDARY.items()]
    path = "/api/things/1/file"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    assert (sent[0]["status"], messages) == (422, [])  # The endpoint did not run.


async def test_upload_beyond_those_of_a_user_at_a_time_returns_429(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0)
    began, release = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield START
        began.set()
        await release.wait()
        yield b"\r\n--x--"

    path = "/api/things/1/file"
    first = asyncio.create_task(client.post(path, content=chunks(), headers=BOUNDARY))
    await began.wait()
    assert (await client.post(path, files={"file": b"x"})).status_code == 429
    release.set()
    assert (await first).status_code == 200
    assert (await client.post(path, files={"file": b"x"})).status_code == 200
