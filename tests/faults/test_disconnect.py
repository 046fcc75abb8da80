"""Tests of requests whose client disconnects."""

import asyncio
import gc
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from app.core.database.dependencies import SessionDep
from app.core.http import disconnect
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually_async, run_pending_tasks


class Client:
    """An ASGI client that sends a complete request, and disconnects when `gone` is set."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Message] = []
        self._task: list[Message] = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive(self) -> Message:
        if self._task:
            return self._task.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self, app: FastAPI, method: str, path: str) -> None:
        body = [(b"content-length", b"2"), (b"content-type", b"application/json")]
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "headers": [(b"host", b"localhost"), *(body if method == "POST" else [])],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        async with asyncio.timeout(DEADLINE_SECONDS):
            await app(scope, self.receive, self.send)


@pytest.fixture(autouse=True)
def _sweep_continuously(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnect, "SWEEP_SECONDS", 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_is_cancelled_when_its_client_disconnects(
    app: FastAPI, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, cancelled = Client(), asyncio.Event()

    @app.api_route("/api/v1/waits", methods=[method])
    async def wait() -> None:
        client.gone.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await client.call(app, method, "/api/v1/waits")
    assert cancelled.is_set()
    assert client.sent == []
    (line,) = [record for record in caplog.records if record.name == "app.access"]
    assert line.__dict__["status"] == 499


async def test_request_is_not_cancelled_after_its_commit(app: FastAPI) -> None:
    """Otherwise, actions after the commit, such as a mail, would be lost."""
    client, followed = Client(), asyncio.Event()

    @app.post("/api/v1/commits")
    async def commit() -> None:
        async with app.state.resources.database.transaction():
            pass
        client.gone.set()
        await run_pending_tasks()
        followed.set()

    await client.call(app, "POST", "/api/v1/commits")
    assert followed.is_set()


async def test_body_is_received_while_the_client_is_watched(app: FastAPI) -> None:
    """Even a GET has an empty body, which the watch for a disconnect may receive first."""
    client, received = Client(), list[Message]()

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        await run_pending_tasks()
        received.append(await receive())
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    app.mount("/api/v1/reads", endpoint)
    await client.call(app, "GET", "/api/v1/reads/")
    assert [message["type"] for message in received] == ["http.request"]


async def test_unread_body_does_not_hide_a_disconnect(app: FastAPI) -> None:
    client, received = Client(), list[Message]()

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        client.gone.set()
        received.append(await receive())
        await asyncio.Event().wait()

    app.mount("/api/v1/late", endpoint)
    await client.call(app, "POST", "/api/v1/late/")
    assert received == [{"type": "http.request", "body": b"{}", "more_body": False}]


async def test_body_that_ends_while_the_client_is_watched_is_received(app: FastAPI) -> None:
    first: Message = {"type": "http.request", "body": b"{", "more_body": True}
    last: Message = {"type": "http.request", "body": b"}", "more_body": False}
    client, received, listens = Client(), list[Message](), asyncio.Event()

    async def receive() -> Message:
        if not received:
            return first
        if len(received) == 1:
            await listens.wait()
            return last
        await client.gone.wait()
        return {"type": "http.disconnect"}

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        await run_pending_tasks()  # Let the watch for a disconnect start.
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        listens.set()
        received.append(await waiting)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    app.mount("/api/v1/ends", endpoint)
    client.receive = receive  # type: ignore[method-assign]
    await client.call(app, "POST", "/api/v1/ends/")
    assert received == [first, last]


async def test_request_that_has_ended_receives_no_message(app: FastAPI) -> None:
    client, received = Client(), 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        await run_pending_tasks()  # Let the watch for a disconnect start.
        for _ in range(steps):
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    app.mount("/api/v1/endless", endpoint)
    client.receive = receive  # type: ignore[method-assign]
    # The watch may be about to receive, or about to look at what it has received.
    for steps in range(3):  # noqa: B007 - the endpoint uses it
        await client.call(app, "GET", "/api/v1/endless/")
        await asyncio.sleep(0)
        received = 0
        await run_pending_tasks()
        assert received == 0


async def test_cancelled_request_returns_its_connection(app: FastAPI) -> None:
    client = Client()

    @app.post("/api/v1/holds")
    async def hold(session: SessionDep) -> None:
        await session.connection()
        client.gone.set()
        await asyncio.Event().wait()

    await client.call(app, "POST", "/api/v1/holds")
    pool = app.state.resources.database.engine.pool
    await eventually_async(lambda: is_idle(pool))


async def is_idle(pool: Any) -> bool:
    """Return whether all connections have been returned to the pool."""
    return bool(pool.checkedout() == 0)


@pytest.mark.parametrize(
    "path", ["/health/live", "/api/v1/items", "/login", "/problems/forbidden", "/absent"]
)
async def test_request_leaves_no_work_for_the_garbage_collector(app: FastAPI, path: str) -> None:
    """A cycle around the request would keep its body and headers until the next collection."""

    async def call() -> None:
        await asyncio.create_task(
            Client().call(app, "GET", path)
        )  # A server runs each request in a task.

    for _ in range(3):  # Fill the caches.
        await call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await call()
        assert gc.collect() < 10
    finally:
        gc.enable()
