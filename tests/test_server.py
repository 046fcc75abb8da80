"""What only a real server shows: a commit that fails, many at once, a client that goes away."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import only
from tests.databases import Databases
from tests.server import serving, sign_up

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}

# A foreign key that is checked at the commit, and a trigger that breaks it at each new item.
FAILING_COMMIT = {
    "sqlite": (
        "CREATE TABLE broken (id INTEGER REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER break AFTER INSERT ON items BEGIN INSERT INTO broken VALUES (-1); END",
    ),
    "postgresql": (
        "CREATE TABLE broken (id bigint REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
        """CREATE FUNCTION break() RETURNS trigger AS
           'BEGIN INSERT INTO broken VALUES (-1); RETURN NEW; END' LANGUAGE plpgsql""",
        "CREATE TRIGGER break AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION break()",
    ),
}


def test_a_commit_that_fails_is_an_error_and_leaves_nothing(
    databases: Databases, own_database_url: str
) -> None:
    databases.execute(own_database_url, *FAILING_COMMIT[own_database_url.partition("+")[0]])
    with serving(own_database_url) as client:
        sign_up(client)
        response = client.post(ITEMS, json=LAMP)
        assert response.status_code == 500
        assert response.headers["Content-Type"] == "application/problem+json"
        assert client.get(ITEMS).json()["results"] == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_20_writers_at_once_none_is_lost(database_url: str, workers: str) -> None:
    with serving(database_url, WEB_CONCURRENCY=workers) as client:
        sign_up(client)
        url = client.post(ITEMS, json=LAMP).headers["Location"]

        def change(n: int) -> Any:
            response = client.patch(url, json={"price": n})
            assert response.status_code == 200, response.text
            return response.json()["version"]

        with ThreadPoolExecutor(20) as pool:
            versions = list(pool.map(change, range(20)))
        assert sorted(versions) == list(range(2, 22))
        assert client.get(url).json()["version"] == 21


def test_a_client_that_goes_away_gives_its_connection_back(database_url: str) -> None:
    pool = {"DATABASE_POOL_SIZE": "2", "DATABASE_POOL_TIMEOUT": "5"}
    with serving(database_url, **pool) as client:
        sign_up(client)
        host, port = client.base_url.host, client.base_url.port
        token = client.headers["Authorization"]
        body = json.dumps(LAMP)
        request = (
            f"POST {ITEMS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for sent in (request, request + body[:5], request + body):
            for _ in range(5):
                with socket.create_connection((host, port or 80)) as connection:
                    connection.sendall(sent.encode())
        time.sleep(0.5)
        with ThreadPoolExecutor(4) as threads:
            responses = list(threads.map(lambda _: client.get(ITEMS), range(8)))
        assert [response.status_code for response in responses] == [200] * 8
        assert len(responses[0].json()["results"]) == 5  # those that were sent whole


def test_a_stop_waits_for_the_request_that_is_under_way(
    databases: Databases, own_database_url: str
) -> None:
    """`serving` sends SIGTERM; hashing a password takes a while."""
    with ThreadPoolExecutor(1) as threads:
        with serving(own_database_url) as client:
            account = {"email": "ann@example.com", "password": "correct horse battery"}
            other = httpx.Client(base_url=client.base_url)
            future = threads.submit(other.post, "/api/v1/users", json=account)
            time.sleep(0.05)
        assert future.result().status_code == 201
        other.close()


@only("postgresql")
def test_a_database_that_is_away_at_the_start(database_url: str) -> None:
    with serving("postgresql+asyncpg://app@127.0.0.1:1/app") as client:
        response = client.get("/health/ready")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_hashing_leaves_the_event_loop_free(database_url: str) -> None:
    limit = {"RATE_LIMIT_LOGIN": "1000/minute"}
    with serving(database_url, **limit) as client, ThreadPoolExecutor(30) as threads:
        form = {"grant_type": "password", "username": "x@example.com", "password": "wrong"}
        logins = [threads.submit(client.post, "/api/v1/auth/token", data=form) for _ in range(20)]
        while not all(login.done() for login in logins):
            assert client.get("/health/live").status_code == 200
        # 503 is for those that waited 10 s, on a busy machine.
        assert {login.result().status_code for login in logins} <= {400, 503}
