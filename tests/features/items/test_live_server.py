"""The live feed on real servers: several workers, many sockets, and shutdown."""

import asyncio
import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from app.accounts.models import AuthSession, User
from app.accounts.repository import Accounts
from app.core.about import SLUG
from app.core.database.models import utc_now
from app.core.database.unit_of_work import Database
from app.core.realtime.sockets import MAX_PER_USER
from app.core.security.tokens import AccessTokens
from tests.conftest import SECRET_KEY, make_settings
from tests.databases import Databases
from tests.features.items.feed import listen, live_url
from tests.features.items.steps import FAILING_COMMIT
from tests.isolation import DEADLINE_SECONDS
from tests.server import CLIENT_OPTIONS, GRACE_PERIOD_EXCEEDED, serving, sign_up
from tests.waiting import eventually

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}


def receive(connection: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(DEADLINE_SECONDS))
    return message


def closed(connection: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            connection.recv(DEADLINE_SECONDS)
    assert connection.close_code
    return connection.close_code


def test_changes_reach_the_sockets_of_other_workers(database_url: str, redis_url: str) -> None:
    workers = {"WEB_CONCURRENCY": "2", "REDIS_URL": redis_url}
    with serving(database_url, **workers) as client, ExitStack() as sockets:
        sign_up(client, "bob")
        bob = client.headers["Authorization"]
        of_bob = sockets.enter_context(listen(client))
        sign_up(client, "ann")
        url = client.post(ITEMS, json=LAMP).headers["Location"]
        connections = [sockets.enter_context(listen(client)) for _ in range(8)]

        with ThreadPoolExecutor(10) as threads:
            list(threads.map(lambda n: client.patch(url, json={"price": n}), range(20)))
        for each in connections:
            messages = [receive(each) for _ in range(20)]
            if any(
                message["version"] == 1 for message in messages
            ):  # The other worker subscribed late.
                messages = [*(m for m in messages if m["version"] > 1), receive(each)]
            assert {message["type"] for message in messages} == {"item.updated"}
            assert sorted(message["version"] for message in messages) == list(range(2, 22))

        client.post(ITEMS, json=LAMP, headers={"Authorization": bob})
        assert receive(of_bob)["type"] == "item.created"  # This is his first message.

        token = client.headers["Authorization"].removeprefix("Bearer ")
        client.post("/api/v1/auth/revoke", data={"token": token})
        assert [closed(each) for each in connections] == [4401] * 8
        assert of_bob.ping().wait(DEADLINE_SECONDS)


def test_command_that_ends_a_session_closes_its_sockets(database_url: str, redis_url: str) -> None:
    with serving(database_url, REDIS_URL=redis_url) as client:
        sign_up(client)
        with listen(client) as connection:
            command = [str(Path(sys.executable).with_name("app")), "users", "deactivate"]
            environment = {"ENVIRONMENT": "test", "DATABASE_URL": database_url}
            environment |= {"SECRET_KEY": SECRET_KEY, "REDIS_URL": redis_url}
            subprocess.run([*command, "ann@example.com"], env=environment, check=True)
            assert closed(connection) == 4401


def test_client_that_reads_nothing_is_closed(database_url: str, redis_url: str) -> None:
    with serving(database_url, REDIS_URL=redis_url) as client:
        sign_up(client)
        # The client reads 16 messages. The network buffers hold the others, a few megabytes.
        with listen(client, max_queue=16) as connection, Redis.from_url(redis_url) as redis:
            message = json.dumps(["another process", "items/1", json.dumps({"x": 4000 * "x"})])
            channel = f"events:{redis_url.rpartition('/')[2]}"
            for _ in range(100):
                with redis.pipeline() as pipeline:
                    for _ in range(100):
                        pipeline.publish(channel, message)
                    pipeline.execute()
                # The server has received them: Redis cuts a subscriber that is 32 MB behind.
                eventually(lambda: not any(int(each["omem"]) for each in redis.client_list()))
            assert client.get(ITEMS).status_code == 200
            assert closed(connection) == 1013


def test_shutdown_closes_the_sockets_at_once(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as sockets:
        with serving(database_url) as client:
            sign_up(client)
            connections = [sockets.enter_context(listen(client)) for _ in range(5)]
        assert [closed(each) for each in connections] == [1012] * 5
    assert GRACE_PERIOD_EXCEEDED not in "".join(
        capfd.readouterr()
    )  # The server did not wait for clients.


def test_handshake_needs_a_token(server: httpx.Client) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(live_url(server), **CLIENT_OPTIONS):
        pass
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="{SLUG}"'
    assert json.loads(response.body)["request_id"] == response.headers["X-Request-ID"]


def test_long_message_closes_the_socket(server: httpx.Client) -> None:
    sign_up(server)
    token = server.headers["Authorization"].removeprefix("Bearer ")
    protocols = [Subprotocol("bearer"), Subprotocol(token)]
    with connect(live_url(server), subprotocols=protocols, **CLIENT_OPTIONS) as connection:
        assert connection.subprotocol == "bearer"
        connection.send(2000 * "x")
        assert closed(connection) == 1009


async def make_tokens(database_url: str, count: int) -> list[str]:
    """Create users and return a token of each."""
    database, tokens = Database(make_settings(database_url)), []
    signer = AccessTokens(SECRET_KEY, timedelta(minutes=15))
    async with database.transaction() as session:
        accounts = Accounts(session)
        for n in range(count):
            address = f"user{n}@example.com"
            user = User(email=address, email_key=address, password_hash="x")
            user = await accounts.users.add(user)
            expires_at = utc_now() + timedelta(days=1)
            auth_session = AuthSession(user_id=user.id, scope="", expires_at=expires_at)
            auth_session = await accounts.sessions.add(auth_session)
            scopes = frozenset({"items:read", "items:write"})
            tokens.append(signer.issue(user.id, auth_session.id, scopes))
    await database.dispose()
    return tokens


@pytest.mark.slow("it opens a thousand sockets")
def test_thousand_sockets_need_no_more_connections(
    server: httpx.Client, server_database_url: str
) -> None:
    """The pool of the shared server has five connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    tokens = asyncio.run(make_tokens(server_database_url, 1000 // MAX_PER_USER))

    async def open_all() -> None:
        connections = []
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            opening = (
                connect_async(live_url(server), additional_headers=headers, **CLIENT_OPTIONS)
                for _ in range(MAX_PER_USER)
            )
            connections += await asyncio.gather(*opening)
        async with httpx.AsyncClient(base_url=server.base_url, timeout=DEADLINE_SECONDS) as other:
            for token in tokens[:10]:
                headers = {"Authorization": f"Bearer {token}"}
                assert (await other.get(ITEMS, headers=headers)).status_code == 200
                await other.post(ITEMS, headers=headers, json=LAMP)
        messages = await asyncio.gather(*(each.recv() for each in connections[: 10 * MAX_PER_USER]))
        assert len({json.loads(message)["item_id"] for message in messages}) == 10
        await asyncio.gather(*(each.close() for each in connections))

    asyncio.run(open_all())


def test_failed_commit_returns_an_error_and_publishes_nothing(
    databases: Databases, own_database_url: str
) -> None:
    with serving(own_database_url) as client:
        sign_up(client)
        first = client.post(ITEMS, json=LAMP)
        databases.execute(own_database_url, *FAILING_COMMIT[own_database_url.partition("+")[0]])
        with listen(client) as socket_of_ann:
            response = client.post(ITEMS, json=LAMP)
            assert response.status_code == 500
            assert response.headers["Content-Type"] == "application/problem+json"
            assert client.get(ITEMS).json()["results"] == [first.json()]
            client.patch(first.headers["Location"], json={"price": "5"})
            change = json.loads(socket_of_ann.recv(DEADLINE_SECONDS))
            assert change == {"type": "item.updated", "item_id": 1, "version": 2}
