"""Tests of the event loop that accepts connections."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.http.listener import MAX_ACCEPTS, Loop
from tests.waiting import run_pending_tasks


class Recorder(asyncio.Protocol):
    """A protocol that counts the connections."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Recorder.made += 1
        transport.close()


@contextmanager
def clients(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    opened = [socket.create_connection(address) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


async def count_accepted_in_a_burst() -> int:
    """Return how many of many connections are accepted in a few turns of the loop."""
    Recorder.made = 0
    server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0)
    with clients(server.sockets[0].getsockname(), 5 * MAX_ACCEPTS):
        for _ in range(10):
            await asyncio.sleep(0)
        made = Recorder.made
        server.close()
        await run_pending_tasks()
        assert Recorder.made == 5 * MAX_ACCEPTS
    await server.wait_closed()
    return made


def test_burst_of_connections_is_accepted_in_a_few_turns() -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(count_accepted_in_a_burst()) == 5 * MAX_ACCEPTS
