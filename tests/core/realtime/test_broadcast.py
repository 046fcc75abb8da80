"""Tests of events between processes, each of which is simulated by a `Broadcast`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from app.core.database.events import Event
from app.core.realtime import redis_broadcast
from app.core.realtime.broadcast import EVENTS_LOST
from app.core.realtime.redis_broadcast import RedisBroadcast
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually_async


class Happened(Event):
    number: int
    about: str = "numbers"

    @property
    def topic(self) -> str:
        return self.about


class Process:
    def __init__(self, url: str) -> None:
        self.broadcast = RedisBroadcast(url)
        self.heard = asyncio.Queue[str]()
        self.lost = asyncio.Event()

    async def next(self) -> int:
        number: int = json.loads(await asyncio.wait_for(self.heard.get(), DEADLINE_SECONDS))[
            "number"
        ]
        return number

    async def is_connected(self) -> None:
        """Wait for the first message, which says that earlier events may have been lost."""
        await asyncio.wait_for(self.lost.wait(), DEADLINE_SECONDS)
        self.lost.clear()


@asynccontextmanager
async def process(url: str, *, linked: bool = True) -> AsyncIterator[Process]:
    one = Process(url)
    with (
        one.broadcast.subscribed("numbers", one.heard.put_nowait),
        one.broadcast.subscribed(EVENTS_LOST, lambda _: one.lost.set()),
    ):
        await one.broadcast.start()
        if linked:
            await one.is_connected()
        yield one
        await asyncio.wait_for(one.broadcast.close(), DEADLINE_SECONDS)


async def logged(caplog: pytest.LogCaptureFixture, message: str) -> None:
    async def is_logged() -> bool:
        return message in caplog.text

    await eventually_async(is_logged)


class Proxy:
    """A proxy to Redis that can be disconnected and connected again."""

    def __init__(self, url: str) -> None:
        self._target = Redis.from_url(url).connection_pool.connection_kwargs
        self._connections = set[asyncio.StreamWriter]()
        self._port = 0
        self.withheld: bytes | None = None  # Data that contains this is dropped.

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/{self._target['db']}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.transport.abort()
        self._connections.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target["host"], self._target.get("port", 6379)
        from_redis, to_redis = await asyncio.open_connection(host, port)
        self._connections |= {writer, to_redis}
        await asyncio.gather(self._pump(reader, to_redis), self._pump(from_redis, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.withheld is None or self.withheld not in data:
                    writer.write(data)
        writer.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(redis_url)
    await proxy.start()
    yield proxy
    proxy.stop()


async def test_event_reaches_each_process_once(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two, process(redis_url) as three:
        for number in range(300):
            one.broadcast.publish([Happened(number=number)])
            assert one.heard.qsize() == number + 1  # The own process gets it at once.
        for each in (one, two, three):
            assert [await each.next() for _ in range(300)] == list(range(300))
        two.broadcast.publish([Happened(number=-1)])
        for each in (one, two, three):
            assert await each.next() == -1
            assert each.heard.empty()


async def test_event_reaches_listeners_of_its_topic_only(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        one.broadcast.publish([Happened(number=1, about="others"), Happened(number=2)])
        assert await two.next() == 2


async def test_events_stay_within_one_redis_database(redis_url: str) -> None:
    server, _, number = redis_url.rpartition("/")
    other = (
        f"{server}/{(int(number) + 4) % 16}"  # No other process of the tests uses this database.
    )
    async with process(redis_url) as one, process(other) as stranger, process(redis_url) as two:
        one.broadcast.publish([Happened(number=1)])
        assert await two.next() == 1
        stranger.broadcast.publish([Happened(number=2)])
        assert await stranger.next() == 2
        assert two.heard.empty()


async def test_events_reach_other_processes_after_redis_returns(
    redis_url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(redis_url) as one, process(proxy.url) as cut_off:
        proxy.stop()
        cut_off.broadcast.publish([Happened(number=1)])
        assert await cut_off.next() == 1
        one.broadcast.publish([Happened(number=2)])
        await logged(caplog, "Redis is unavailable")
        await proxy.start()
        await cut_off.is_connected()
        assert await one.next() == 2
        assert await one.next() == 1  # The event has waited for Redis.
        assert cut_off.heard.empty()
        one.broadcast.publish([Happened(number=3)])
        assert await cut_off.next() == 3
        assert not one.lost.is_set()
    messages = [each for each in caplog.messages if each.startswith("Redis is")]
    assert len(messages) == 2
    assert messages[1] == "Redis is back: events reach the other processes again"


@pytest.mark.parametrize("withheld", [b"", b"message"], ids=["everything", "messages"])
async def test_hanging_redis_is_detected_by_the_heartbeat(
    withheld: bytes,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Redis stops responding without an error, so that only the heartbeat detects it."""
    monkeypatch.setattr(redis_broadcast, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(redis_broadcast, "HEARTBEAT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(redis_broadcast, "RESPONSE_SECONDS", 0.5)
    async with process(proxy.url) as one:
        proxy.withheld = withheld
        one.broadcast.publish([Happened(number=1)])
        assert await one.next() == 1
        await logged(caplog, "Redis is unavailable")
        proxy.withheld = None
        await one.is_connected()


async def test_full_outbox_reports_lost_events(
    redis_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_broadcast, "MAX_QUEUED_MESSAGES", 10)
    async with process(redis_url) as one, process(proxy.url) as cut_off:
        proxy.stop()
        cut_off.broadcast.publish([Happened(number=number) for number in range(11)])
        assert cut_off.heard.qsize() == 11
        await proxy.start()
        await asyncio.wait_for(one.lost.wait(), DEADLINE_SECONDS)
        assert one.heard.empty()
        await cut_off.is_connected()
    assert caplog.text.count("Too many events wait for Redis") == 1


async def test_invalid_messages_are_logged_and_ignored(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel = f"events:{redis_url.rpartition('/')[2]}"
    async with process(redis_url) as one, Redis.from_url(redis_url, driver_info=None) as redis:
        for nonsense in ("nonsense", "[]", "7", '{"a": 1}'):
            await redis.publish(channel, nonsense)
        await redis.publish(channel, json.dumps(["somebody", "numbers", '{"number": 1}']))
        assert await one.next() == 1
    assert caplog.text.count("Ignored a message that is not an event") == 4


async def test_close_sends_the_outbox(redis_url: str) -> None:
    """A command that ends right after it publishes still sends its events."""
    async with process(redis_url) as one:
        async with process(redis_url, linked=False) as command:
            command.broadcast.publish([Happened(number=1)])
        assert await one.next() == 1


async def test_close_while_redis_is_unavailable_ends(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(f"redis://127.0.0.1:{unused_tcp_port}/0", linked=False) as one:
        one.broadcast.publish([Happened(number=1)])
        assert await one.next() == 1
    assert "Events may be lost: Redis is unavailable" in caplog.text
