import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from limits import parse
from redis.asyncio import Redis

from app.core.errors import TooManyRequests
from app.core.http.rate_limits import limit_by_address
from app.core.security import rate_limit
from app.core.security.rate_limit import MemoryWindows, RateLimiter
from tests.conftest import REDIS_URL, Person, client_of, make_settings, running
from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port
from tests.slices import needs
from tests.waiting import run_pending_tasks

ITEMS = "/api/v1/items"
TEN = parse("10/minute")
Limiters = Callable[..., RateLimiter]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
needs_redis = pytest.mark.skipif(not REDIS_URL, reason="TEST_REDIS_URL is not set")


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def url(request: pytest.FixtureRequest) -> str | None:
    return REDIS_URL if request.param == "redis" else None


@pytest.fixture
async def make_limiter() -> AsyncIterator[Limiters]:
    """Return a function that creates limiters, which share their counts within one test only."""
    key, limiters = secrets.token_bytes(), list[RateLimiter]()

    def make(url: str | None) -> RateLimiter:
        limiters.append(RateLimiter(url, key))
        return limiters[-1]

    yield make
    for each in limiters:
        await each.close()


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = float(round(time.time()))  # Redis would round fractions.
    monkeypatch.setattr(time, "time", lambda: now)


async def count_admitted(limiter: RateLimiter, count: int, key: str = "ann") -> int:
    """Return how many of `count` concurrent requests are admitted."""
    hits = (limiter.hit("test", TEN, key) for _ in range(count))
    results = await asyncio.gather(*hits, return_exceptions=True)
    assert all(each is None or isinstance(each, TooManyRequests) for each in results), results
    return results.count(None)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@asynccontextmanager
async def listening(port: int, serve: Callable[..., Any]) -> AsyncIterator[list[Stream]]:
    """Run a server on a port. Yield its open connections, which are closed at the end."""
    streams: list[Stream] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append((reader, writer))
        await serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield streams
    finally:
        server.close()
        for _, writer in streams:
            writer.close()


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def send_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward a connection to the real Redis."""
    options = Redis.from_url(REDIS_URL or "").connection_pool.connection_kwargs
    to_redis = await asyncio.open_connection(options["host"], options.get("port", 6379))
    await asyncio.gather(pump(reader, to_redis[1]), pump(to_redis[0], writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()


def relayed(port: int) -> str:
    return f"redis://127.0.0.1:{port}/{(REDIS_URL or '').rpartition('/')[2]}"


async def test_limit_admits_10_of_30_concurrent_requests(
    make_limiter: Limiters, url: str | None
) -> None:
    limiter = make_limiter(url)
    assert await count_admitted(limiter, 30) == 10
    assert await count_admitted(limiter, 30) == 0
    assert await count_admitted(limiter, 30, "bob") == 10


@needs_redis
async def test_workers_share_their_counts_on_redis(make_limiter: Limiters) -> None:
    workers = [make_limiter(REDIS_URL) for _ in range(3)]
    assert sum(await asyncio.gather(*(count_admitted(each, 10) for each in workers))) == 10


async def test_policies_and_keys_are_counted_separately(
    make_limiter: Limiters, url: str | None
) -> None:
    limiter, once = make_limiter(url), parse("1/minute")
    await limiter.hit("a", once, "x", "y")
    for policy, key in (
        ("b", ("x", "y")),
        ("a", ("xy",)),
        ("a", ("x", "y", "")),
        ("a", ("\ud800",)),
    ):
        await limiter.hit(policy, once, *key)
    with pytest.raises(TooManyRequests):
        await limiter.hit("a", once, "x", "y")


@pytest.mark.usefixtures("_stopped_clock")
async def test_status_reports_the_remaining_requests(
    make_limiter: Limiters, url: str | None
) -> None:
    limiter = make_limiter(url)
    assert await limiter.status("test", TEN, "ann") == (10, 60)
    assert await count_admitted(limiter, 3) == 3
    assert await limiter.status("test", TEN, "ann") == (7, 60)


async def test_retry_after_is_the_end_of_the_window(
    make_limiter: Limiters, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = float(round(time.time()))  # Redis would round fractions.
    monkeypatch.setattr(time, "time", lambda: now)
    limiter, limit = make_limiter(url), parse("2/20 minute")
    await limiter.hit("test", limit, "ann")
    now += 660
    await limiter.hit("test", limit, "ann")
    with pytest.raises(TooManyRequests) as refused:
        await limiter.hit("test", limit, "ann")
    error = refused.value
    assert (error.policy, error.limit, error.window_seconds) == ("test", 2, 1200)
    assert error.reset_seconds == 540  # The first request leaves the window then.
    now += error.reset_seconds - 1
    with pytest.raises(TooManyRequests):
        await limiter.hit("test", limit, "ann")
    now += 1.1
    await limiter.hit("test", limit, "ann")
    with pytest.raises(TooManyRequests):
        await limiter.hit("test", limit, "ann")


async def test_idle_keys_are_removed_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(time=time.time)
    monkeypatch.setattr(rate_limit, "time", clock)
    windows = MemoryWindows()
    for n in range(1000):
        assert await windows.acquire_entry(f"{n}", 10, 60)
    assert len(windows._windows[60]) == 1000
    clock.time = lambda: time.time() + 61
    for _ in range(500):
        await windows.acquire_entry("busy", 10, 60)
    assert len(windows._windows[60]) == 1
    assert len(windows._windows[60]["busy"]) == 10


async def test_number_of_keys_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.security.rate_limit.MAX_KEYS", 10)
    windows = MemoryWindows()
    for n in range(100):
        assert await windows.acquire_entry(f"{n}", 10, 60)
    assert [*windows._windows[60]] == [f"{n}" for n in range(90, 100)]


@needs_redis
async def test_redis_keys_are_hashed_and_expire(make_limiter: Limiters) -> None:
    limiter, policy = make_limiter(REDIS_URL), secrets.token_hex(8)
    await limiter.hit(policy, TEN, "ann@example.com")
    async with Redis.from_url(REDIS_URL or "", driver_info=None) as redis:
        (name,) = [each async for each in redis.scan_iter(f"*{policy}*", count=1000)]
        assert b"ann" not in name
        assert 0 < await redis.ttl(name) <= 60


@pytest.mark.parametrize("serve", [None, hang, send_garbage])
async def test_process_counts_while_redis_is_unavailable(
    make_limiter: Limiters,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    serve: Callable[..., Any] | None,
) -> None:
    monkeypatch.setattr(rate_limit, "REDIS_SECONDS", 0.1)
    monkeypatch.setattr(rate_limit, "RETRY_SECONDS", DEADLINE_SECONDS)
    port = free_port()
    limiter = make_limiter(f"redis://127.0.0.1:{port}/5")
    async with listening(port if serve else free_port(), serve or hang) as connections:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await count_admitted(limiter, 30) == 10
        await run_pending_tasks()  # Let the server accept the connections.
        opened = len(connections)
        assert await count_admitted(limiter, 30) == 0
        assert len(connections) == opened  # No further call waits for Redis.
    (warning,) = warnings(caplog)
    assert "Redis is unavailable" in warning


@needs_redis
async def test_limiter_returns_to_redis_when_it_is_available(
    make_limiter: Limiters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now)
    monkeypatch.setattr(rate_limit, "time", clock)
    port = free_port()
    limiter, other = make_limiter(relayed(port)), make_limiter(REDIS_URL)
    assert await count_admitted(limiter, 1) == 1
    for count in (10, 0):  # Redis stops twice; cut connections are reopened.
        now += rate_limit.RETRY_SECONDS
        async with listening(port, relay) as connections:
            assert await count_admitted(limiter, 60) == count
            assert len(connections) <= rate_limit.REDIS_CONNECTIONS
            assert await count_admitted(other, 10) == 0
            for _, writer in connections:
                writer.close()
            await run_pending_tasks()
            assert await count_admitted(limiter, 10) == 0
        assert await count_admitted(limiter, 3) == 3  # This is counted in memory.
    assert len(warnings(caplog)) == 3


async def test_closed_application_leaves_no_task(database_url: str, url: str | None) -> None:
    before = asyncio.all_tasks()
    async with running(make_settings(database_url, redis_url=url)) as app:
        await count_admitted(app.state.resources.rate_limiter, 30, secrets.token_hex())
    assert asyncio.all_tasks() == before


def status_and_limit(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.headers.get("RateLimit")


@needs("items")
@pytest.mark.usefixtures("_stopped_clock")
async def test_default_limit_counts_by_address(database_url: str, url: str | None) -> None:
    settings = make_settings(
        database_url, redis_url=url, rate_limit_default="3/minute", secret_key=secrets.token_hex()
    )
    async with running(settings) as app, client_of(app, address="2001:db8::1") as client:
        response = await client.get("/api/v1/users/me")
        assert status_and_limit(response) == (401, '"default";r=2;t=60')
        assert response.headers["RateLimit-Policy"] == '"default";q=3;w=60'
        assert status_and_limit(await client.head(ITEMS)) == (401, '"default";r=1;t=60')
        async with client_of(app, address="2001:db8::2") as neighbour:
            response = await neighbour.post("/api/v1/users", json={"email": "x"})
            assert status_and_limit(response) == (422, '"default";r=0;t=60')
            response = await neighbour.get(ITEMS)
        assert status_and_limit(response) == (429, '"default";r=0;t=60')
        assert response.headers["Retry-After"] == "60"
        assert response.json()["status"] == 429
        async with client_of(app, address="2001:db8:0:1::1") as stranger:
            assert status_and_limit(await stranger.get(ITEMS)) == (401, '"default";r=2;t=60')
        for path in ("/health/live", "/docs", "/nowhere"):
            assert "RateLimit" not in (await client.get(path)).headers
        read = (await asyncio.to_thread(app.openapi))["paths"][ITEMS]["get"]
        assert read["responses"]["429"]["description"] == "Too many requests from this address"


@pytest.mark.usefixtures("_stopped_clock")
async def test_errors_and_successes_have_rate_limit_fields(database_url: str) -> None:
    settings = make_settings(database_url, rate_limit_default="9/minute")
    async with running(settings) as app, client_of(app) as client:

        @app.get("/bug", dependencies=[Depends(limit_by_address)])
        async def bug() -> None:
            raise ZeroDivisionError

        @app.get("/other", dependencies=[Depends(limit_by_address)])
        async def other() -> None:
            raise TooManyRequests("other", 1, 1, 1)

        assert status_and_limit(await client.get("/bug")) == (500, '"default";r=8;t=60')
        response = await client.get("/other")
        fields = ['"other";r=0;t=1', '"default";r=7;t=60']
        assert response.headers.get_list("RateLimit") == fields
        user = {"email": "ann@example.com", "password": "correct horse battery"}
        response = await client.post("/api/v1/users", json=user)
        assert status_and_limit(response) == (201, '"default";r=6;t=60')


@needs("items")
async def test_unset_default_limits_no_request(app: FastAPI, ann: Person) -> None:
    response = await ann.client.get(ITEMS)
    assert status_and_limit(response) == (200, None)
    assert "RateLimitFields" not in {
        getattr(each.cls, "__name__", "") for each in app.user_middleware
    }
    document = await asyncio.to_thread(app.openapi)
    assert "429" not in document["paths"][ITEMS]["get"]["responses"]


async def test_readiness_is_degraded_while_redis_is_unavailable(
    database_url: str, unused_tcp_port: int
) -> None:
    for url, status in ((None, "ok"), (f"redis://127.0.0.1:{unused_tcp_port}", "degraded")):
        settings = make_settings(database_url, redis_url=url)
        async with running(settings) as app, client_of(app) as client:
            response = await client.get("/health/ready")
        assert (response.status_code, response.json()["status"]) == (200, status)


@needs_redis
async def test_readiness_is_ok_with_redis(database_url: str) -> None:
    settings = make_settings(database_url, redis_url=REDIS_URL)
    async with running(settings) as app, client_of(app) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ok"
