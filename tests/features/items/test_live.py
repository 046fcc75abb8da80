"""The live feed in one process; `test_live_server.py` tests it on real servers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.accounts.models import AuthSession
from app.core.database.models import utc_now
from app.core.errors import Unauthenticated, Unavailable
from app.core.realtime import sockets
from app.core.security.tokens import AccessTokens
from app.features.items.events import ItemEvent
from tests.conftest import PASSWORD, SECRET_KEY, Person, delete_account, make_person
from tests.features.items.feed import connected, connecting, refused
from tests.isolation import DEADLINE_SECONDS

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}


def message(event: str, item_id: int, version: int) -> dict[str, Any]:
    return {"type": f"item.{event}", "item_id": item_id, "version": version}


def token_of(person: Person, **changes: Any) -> str:
    """Return a new token of the same session."""
    claims = AccessTokens(SECRET_KEY, timedelta(minutes=15)).read(person.token)
    lifetime = changes.get("lifetime", timedelta(minutes=15))
    scopes = changes.get("scopes", frozenset(claims.scope.split()))
    return AccessTokens(SECRET_KEY, lifetime).issue(claims.sub, claims.sid, scopes)


def session_of(person: Person) -> str:
    return str(AccessTokens(SECRET_KEY, timedelta(minutes=15)).read(person.token).sid)


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.05)


async def test_changes_are_sent_in_their_order(app: FastAPI, ann: Person) -> None:
    async with connected(app, ann.token) as socket:
        url = (await ann.client.post(ITEMS, json=LAMP)).headers["Location"]
        item_id = int(url.rpartition("/")[2])
        await ann.client.patch(url, json={"price": "5"})
        await ann.client.put(url, json=LAMP)
        await ann.client.delete(url)
        assert await socket.receive() == message("created", item_id, 1)
        assert await socket.receive() == message("updated", item_id, 2)
        assert await socket.receive() == message("updated", item_id, 3)
        assert await socket.receive() == message("deleted", item_id, 3)
        assert socket.from_application.empty()


async def test_change_is_committed_before_it_is_sent(app: FastAPI, ann: Person) -> None:
    async with connected(app, ann.token) as socket:
        creating = asyncio.create_task(ann.client.post(ITEMS, json=LAMP))
        item_id = (await socket.receive())["item_id"]
        assert (await ann.client.get(f"{ITEMS}/{item_id}")).status_code == 200
        await creating


@pytest.mark.parametrize("changers", [20])
async def test_concurrent_changes_are_sent_in_the_order_of_their_commits(
    app: FastAPI, ann: Person, changers: int
) -> None:
    url = (await ann.client.post(ITEMS, json=LAMP)).headers["Location"]
    async with connected(app, ann.token) as socket:
        await asyncio.gather(
            *(ann.client.patch(url, json={"price": n}) for n in range(changers)),
        )
        versions = [(await socket.receive())["version"] for _ in range(changers)]
    assert versions == list(range(2, changers + 2))


async def test_request_that_changes_nothing_sends_nothing(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    url = (await ann.client.post(ITEMS, json=LAMP)).headers["Location"]
    async with connected(app, ann.token) as socket:
        assert (await ann.client.patch(url, json={})).status_code == 200
        assert (await ann.client.patch(url, json={"price": "-1"})).status_code == 422
        assert (await ann.client.patch(f"{ITEMS}/999", json={"price": "1"})).status_code == 404
        assert (await bob.client.delete(url)).status_code == 404
        await ann.client.get(url)
        assert socket.from_application.empty()


async def test_change_is_sent_only_to_the_owner(
    app: FastAPI, ann: Person, bob: Person, root: Person
) -> None:
    url = (await ann.client.post(ITEMS, json=LAMP)).headers["Location"]
    async with (
        connected(app, ann.token) as one,
        connected(app, ann.token) as two,
        connected(app, bob.token) as of_bob,
        connected(app, root.token) as of_root,
    ):
        assert (await root.client.patch(url, json={"price": "5"})).status_code == 200
        assert await one.receive() == await two.receive() == message("updated", 1, 2)
        assert of_bob.from_application.empty()
        assert of_root.from_application.empty()


async def test_disconnected_client_is_removed(app: FastAPI, ann: Person) -> None:
    listeners = app.state.resources.broadcast._listeners
    async with connected(app, ann.token) as socket:
        assert listeners
        await socket.from_client.put(
            {"type": "websocket.receive", "text": "messages of clients are ignored"}
        )
        await ann.client.post(ITEMS, json=LAMP)
        await socket.receive()
    assert not listeners
    assert not app.state.resources.sockets._by_user


async def test_handshake_is_in_the_access_log(
    app: FastAPI, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(app, ann.token):
        pass
    await refused(app)
    opened, refusal = [each for each in caplog.records if each.name == "app.access"]
    assert opened.__dict__["method"] == "WEBSOCKET"
    assert opened.__dict__["route"] == opened.__dict__["path"] == f"{ITEMS}/live"
    assert (opened.__dict__["status"], refusal.__dict__["status"]) == (101, 401)


async def test_handshake_on_an_unknown_path_is_logged_as_403(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async with connecting(app, path="/unknown") as socket:
        assert (await socket.next())["type"] == "websocket.close"
    (record,) = [each for each in caplog.records if each.name == "app.access"]
    assert record.__dict__["status"] == 403


async def test_handshake_without_permission_is_refused(app: FastAPI, ann: Person) -> None:
    problem = await refused(app)
    assert (problem["status"], problem["detail"]) == (
        401,
        "Not authenticated. Send an access token.",
    )
    assert problem["request_id"]
    assert (await refused(app, "nonsense"))["status"] == 401
    assert (await refused(app, subprotocols=("bearer", "nonsense")))["status"] == 401
    assert (await refused(app, subprotocols=("bearer",)))["status"] == 401
    assert (await refused(app, subprotocols=("chat", ann.token)))["status"] == 401
    assert (await refused(app, path=f"{ITEMS}/live?token={ann.token}"))["status"] == 422
    assert (await refused(app, token_of(ann, lifetime=timedelta(-1))))["status"] == 401
    assert (await refused(app, token_of(ann, scopes=frozenset({"items:write"}))))["status"] == 403
    assert (await refused(app, ann.token, headers={"Host": "evil.example"}))["status"] == 400
    await ann.client.delete(f"/api/v1/auth/sessions/{session_of(ann)}")
    assert (await refused(app, ann.token))["status"] == 401


async def test_token_is_accepted_as_a_subprotocol(app: FastAPI, ann: Person) -> None:
    other_site = {"Origin": "https://app.example"}
    options: dict[str, Any] = {"subprotocols": ("bearer", ann.token), "headers": other_site}
    async with connecting(app, **options) as socket:
        response = await socket.next()
    assert (response["type"], response["subprotocol"]) == ("websocket.accept", "bearer")
    async with connecting(app, ann.token) as socket:
        assert (await socket.next())["subprotocol"] is None


async def test_open_socket_outlives_its_token(
    frequent_checks: None, app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    active_session_ids, checked = (
        app.state.resources.accounts.auth.active_session_ids,
        asyncio.Event(),
    )

    async def check(session_ids: Any) -> Any:
        found = await active_session_ids(session_ids)
        checked.set()
        return found

    def expired(token: str) -> Any:
        raise Unauthenticated("The access token is invalid or has expired.")

    async with connected(app, ann.token) as socket:
        monkeypatch.setattr(app.state.resources.accounts.auth._tokens, "read", expired)
        app.state.resources.session_cache.forget_all()
        monkeypatch.setattr(app.state.resources.sockets, "_active_sessions", check)
        assert (await ann.client.get(ITEMS)).status_code == 401
        await asyncio.wait_for(checked.wait(), DEADLINE_SECONDS)
        event = ItemEvent(type="item.created", item_id=7, version=1, owner_id=ann.id)
        app.state.resources.broadcast.publish([event])
        assert await socket.receive() == message("created", 7, 1)


async def revoke(ann: Person, root: Person) -> httpx.Response:
    return await ann.client.post("/api/v1/auth/revoke", data={"token": ann.token})


async def delete_session(ann: Person, root: Person) -> httpx.Response:
    return await ann.client.delete(f"/api/v1/auth/sessions/{session_of(ann)}")


async def deactivate(ann: Person, root: Person) -> httpx.Response:
    return await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": False})


async def delete_user(ann: Person, root: Person) -> httpx.Response:
    return await root.client.delete(f"/api/v1/users/{ann.id}")


async def delete_own_account(ann: Person, root: Person) -> httpx.Response:
    await ann.client.post(ITEMS, json=LAMP)
    return await delete_account(ann)


@pytest.mark.parametrize(
    "end", [revoke, delete_session, deactivate, delete_user, delete_own_account]
)
async def test_end_of_the_session_closes_the_socket(
    app: FastAPI,
    ann: Person,
    root: Person,
    end: Callable[[Person, Person], Awaitable[httpx.Response]],
) -> None:
    async with connected(app, ann.token) as socket, connected(app, root.token) as other:
        assert (await end(ann, root)).is_success
        message = await socket.next()
        if message["type"] == "websocket.send":  # The item is deleted with the account.
            message = await socket.next()
        assert (message["type"], message["code"]) == ("websocket.close", 4401)
        assert other.from_application.empty()


async def test_new_password_closes_the_other_sockets(
    app: FastAPI, ann: Person, client: httpx.AsyncClient
) -> None:
    form = {"grant_type": "password", "username": ann.email, "password": PASSWORD}
    token = (await client.post("/api/v1/auth/token", data=form)).json()["access_token"]
    async with connected(app, ann.token) as kept, connected(app, token) as ended:
        body = {"current_password": PASSWORD, "new_password": "a better horse battery"}
        response = await ann.client.post("/api/v1/users/me/password", json=body)
        assert response.status_code == 204
        assert await ended.closed() == 4401
        assert kept.from_application.empty()


async def test_session_that_ends_during_the_handshake_is_refused(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends after its token is read, and before the socket listens for its end."""
    authenticate = app.state.resources.accounts.auth.authenticate

    async def authenticate_and_end(token: str) -> Any:
        principal = await authenticate(token)
        await app.state.resources.accounts.auth.end_session(principal, principal.session_id)
        return principal

    monkeypatch.setattr(app.state.resources.accounts.auth, "authenticate", authenticate_and_end)
    assert (await refused(app, ann.token))["status"] == 401


async def test_expired_session_closes_the_socket(
    frequent_checks: None, app: FastAPI, ann: Person
) -> None:
    async with connected(app, ann.token) as socket:
        async with app.state.resources.database.transaction() as session:
            expired = utc_now() - timedelta(seconds=1)
            await session.execute(update(AuthSession).values(expires_at=expired))
        assert await socket.closed() == 4401


async def test_unavailable_database_closes_no_socket(
    frequent_checks: None, app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    active_session_ids, asked = app.state.resources.sockets._active_sessions, asyncio.Event()

    async def fail(session_ids: Any) -> Any:
        asked.set()
        raise Unavailable("The database is not reachable.")

    async with connected(app, ann.token) as socket:
        monkeypatch.setattr(app.state.resources.sockets, "_active_sessions", fail)
        await asyncio.wait_for(asked.wait(), DEADLINE_SECONDS)
        monkeypatch.setattr(app.state.resources.sockets, "_active_sessions", active_session_ids)
        await ann.client.post(ITEMS, json=LAMP)
        assert (await socket.receive())["type"] == "item.created"


async def test_client_that_does_not_read_is_closed(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_QUEUED_MESSAGES", 3)
    async with connected(app, ann.token) as slow, connected(app, ann.token) as quick:
        slow.is_reading.clear()
        for n in range(10):
            await ann.client.post(ITEMS, json=LAMP)
            assert await quick.receive() == message("created", n + 1, 1)
        (dropped,) = [
            each for each in app.state.resources.sockets._all() if each._close_code.done()
        ]
        assert dropped._queue.empty()
        slow.is_reading.set()
        assert await slow.closed() == 1013


async def test_number_of_sockets_of_a_user_is_limited(
    app: FastAPI, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_PER_USER", 2)
    async with connected(app, ann.token), connected(app, ann.token):
        assert (await refused(app, ann.token))["status"] == 429
        async with connected(app, bob.token):
            pass
    async with connected(app, ann.token):
        pass


async def test_shutdown_closes_the_sockets(app: FastAPI, ann: Person) -> None:
    async with connected(app, ann.token) as socket:
        await app.state.resources.sockets.close()
        assert await socket.closed() == 1012


async def test_socket_holds_no_database_connection(app: FastAPI, ann: Person) -> None:
    async with connected(app, ann.token):
        assert app.state.resources.database.engine.pool.checkedout() == 0
        assert app.state.resources.database.reader.pool.checkedout() == 0


async def test_unknown_session_is_refused(app: FastAPI, ann: Person) -> None:
    stranger = AccessTokens(SECRET_KEY, timedelta(minutes=15))
    token = stranger.issue(ann.id, uuid4(), frozenset({"items:read"}))
    assert (await refused(app, token))["status"] == 401


async def test_active_sessions_are_found_among_thousands(app: FastAPI, password_hash: str) -> None:
    person = await make_person(app, password_hash, "one")
    async with person.client:
        ids = [uuid4() for _ in range(25_000)]
        session_id = AccessTokens(SECRET_KEY, timedelta(1)).read(person.token).sid
        assert await app.state.resources.accounts.auth.active_session_ids([*ids, session_id]) == {
            session_id
        }


async def test_revoked_api_key_closes_its_socket(app: FastAPI, ann: Person) -> None:
    keys = "/api/v1/users/me/api-keys"
    body = {"name": "Feed", "scopes": ["items:read"], "current_password": PASSWORD}
    created = (await ann.client.post(keys, json=body)).json()
    async with connected(app, created["key"]) as socket:
        await ann.client.post(ITEMS, json=LAMP)
        assert (await socket.receive())["type"] == "item.created"
        await ann.client.delete(f"{keys}/{created['id']}")
        assert await socket.closed() == 4401
    assert (await refused(app, created["key"]))["status"] == 401
