"""Tests of a server with many clients at once, hostile ones and ordinary ones."""

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.faults.clients import (
    MAX_GROWTH_BYTES,
    MEGABYTE,
    connected,
    health,
    peak_memory,
    reset_peak_memory,
    send_until_cut,
)
from tests.isolation import DEADLINE_SECONDS
from tests.server import serving, serving_process, sign_up
from tests.slices import needs
from tests.waiting import eventually

pytestmark = pytest.mark.slow("thousands of connections")

CLIENTS = 3000  # This is three times MAX_CONNECTIONS.
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ITEMS, LIVE = "/api/v1/items", "/health/live"
LAMP = b'{"name": "Lamp", "price": "19.99"}'
WAITING = (b"", GET, GET + b"\r\n", POST + b"Content-Length: 1000\r\n\r\n")
ENDLESS = (
    (GET, 10_000 * b"a:b\r\n"),
    (GET + b"X: ", 100_000 * b"x"),
    (b"GET /", 100_000 * b"x"),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", 10_000 * b"a:b\r\n"),
    (b"", 5000 * (GET + b"\r\n")),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[httpx.Client, int]]:
    """Yield a client of a server and its process id.

    The server inherits the limit on open files.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    with serving_process(f"sqlite+aiosqlite:///{tmp_path}/app.db") as (client, pid):
        yield client, pid


def test_new_clients_are_served_while_thousands_of_connections_are_open(
    server: tuple[httpx.Client, int],
) -> None:
    client, pid = server
    before = reset_peak_memory(pid)
    with ExitStack() as stack:
        for number in range(CLIENTS):
            connection = stack.enter_context(connected(client))
            connection.sendall(WAITING[number % len(WAITING)])
            if number % 100 == 0:
                assert health(client).status_code == 200
    assert peak_memory(pid) - before < 3 * MAX_GROWTH_BYTES


def test_new_clients_are_served_during_attacks(server: tuple[httpx.Client, int]) -> None:
    client, pid = server
    before = reset_peak_memory(pid)

    def attack(number: int) -> None:
        start, piece = ENDLESS[number % len(ENDLESS)]
        with connected(client) as connection:
            connection.sendall(start)
            assert send_until_cut(connection, piece, 100 * MEGABYTE)

    with ThreadPoolExecutor(8) as threads:
        attacks = [threads.submit(attack, number) for number in range(400)]
        while not all(each.done() for each in attacks):
            assert health(client).status_code == 200
        for each in attacks:
            each.result()
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES


class Answer(NamedTuple):
    path: str
    status: int
    content_type: str
    retry_after: str | None


def request_in_turn(client: httpx.Client) -> list[Answer]:
    """Read, write, and check the health, each on a new connection."""
    headers = {"Authorization": client.headers["Authorization"], "Content-Type": "application/json"}
    answers = []
    for method, path, body in (("GET", ITEMS, None), ("POST", ITEMS, LAMP), ("GET", LIVE, None)):
        connection = HTTPConnection(client.base_url.netloc.decode(), timeout=DEADLINE_SECONDS)
        with closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
        kind, wait = response.getheader("Content-Type", ""), response.getheader("Retry-After")
        answers.append(Answer(path, response.status, kind, wait))
    return answers


def request_at_once(client: httpx.Client, clients: int) -> list[Answer]:
    with ThreadPoolExecutor(clients) as threads:
        found = [threads.submit(request_in_turn, client) for _ in range(clients)]
        return [answer for each in found for answer in each.result()]


@needs("items")
def test_overloaded_server_accepts_or_refuses_and_recovers(own_database_url: str) -> None:
    pool = {"DATABASE_POOL_SIZE": "2", "DATABASE_POOL_TIMEOUT": "0.5"}
    with serving(own_database_url, **pool) as client:
        sign_up(client)
        answers = request_at_once(client, 300)
        assert {each.status for each in answers if each.path == LIVE} == {200}
        others = [each for each in answers if each.path != LIVE]
        created = [each for each in others if each.status == 201]
        refused = [each for each in others if each.status not in (200, 201)]
        assert {each[1:] for each in refused} <= {(503, "application/problem+json", "5")}
        eventually(lambda: client.get("/health/ready").status_code == 200)
        # All connections are back: as many requests as there are get one at the same time.
        assert {each.status for each in request_at_once(client, 2)} == {200, 201}
        total = client.get(ITEMS, params={"with_total": True}).json()["total"]
        assert total == len(created) + 2
