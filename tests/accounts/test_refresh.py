import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import func, select, update

from app.accounts.models import AuthSession, RefreshToken, User
from app.core.database.models import utc_now
from app.core.security.tokens import AccessTokens
from tests.accounts.steps import backdate_refresh_tokens, is_accepted, refresh, sign_in_to_api
from tests.conftest import SECRET_KEY, Person, client_of, sign_in
from tests.slices import needs

URL = "/api/v1/auth/token"
ME = "/api/v1/users/me"


async def test_refresh_returns_a_new_refresh_token(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    first = await sign_in_to_api(client, ann)
    second = (await refresh(client, first["refresh_token"])).json()
    assert set(second) == set(first)
    assert second["refresh_token"] != first["refresh_token"]
    assert await is_accepted(app, second["access_token"])
    third = await refresh(client, second["refresh_token"])
    assert third.status_code == 200
    assert third.headers["Cache-Control"] == "no-store"


async def test_refresh_token_is_stored_as_a_hash(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    async with app.state.resources.database.reading() as session:
        stored = (await session.scalars(select(RefreshToken.token_hash))).all()
    assert token["refresh_token"] not in stored
    assert {len(each) for each in stored} == {64}


async def test_refresh_token_used_twice_within_the_grace_succeeds(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    first = await refresh(client, token["refresh_token"])
    again = await refresh(client, token["refresh_token"])
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["refresh_token"] != again.json()["refresh_token"]


async def test_reuse_after_the_grace_ends_the_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    successor = (await refresh(client, token["refresh_token"])).json()
    await backdate_refresh_tokens(app, 11)
    response = await refresh(client, token["refresh_token"])
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert not await is_accepted(app, successor["access_token"])
    assert (await refresh(client, successor["refresh_token"])).status_code == 400


async def test_16_refreshes_at_once_get_three_successors_in_one_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    responses = await asyncio.gather(*(refresh(client, token["refresh_token"]) for _ in range(16)))
    refreshed = [response.json() for response in responses if response.status_code == 200]
    assert len(refreshed) == 3
    assert {response.status_code for response in responses} == {200, 400}
    async with app.state.resources.database.reading() as session:
        statement = select(func.count(RefreshToken.session_id.distinct()))
        assert await session.scalar(statement) == 1
    assert await is_accepted(app, refreshed[0]["access_token"])
    assert (await refresh(client, refreshed[1]["refresh_token"])).status_code == 200


async def test_two_used_successors_of_one_refresh_token_end_the_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    """A thief who is as fast as the owner would keep a chain of their own."""
    token = await sign_in_to_api(client, ann)
    owners = (await refresh(client, token["refresh_token"])).json()
    thiefs = (await refresh(client, token["refresh_token"])).json()
    successor = (await refresh(client, owners["refresh_token"])).json()
    refused = await refresh(client, thiefs["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert not await is_accepted(app, successor["access_token"])
    assert (await refresh(client, successor["refresh_token"])).status_code == 400


async def test_reuse_within_the_grace_of_a_token_whose_successor_is_used_ends_the_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    successor = (await refresh(client, token["refresh_token"])).json()
    last = (await refresh(client, successor["refresh_token"])).json()
    assert (await refresh(client, token["refresh_token"])).status_code == 400
    assert not await is_accepted(app, last["access_token"])


async def test_client_that_loses_two_responses_in_a_row_goes_on(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    for _ in range(3):
        assert (await refresh(client, token["refresh_token"])).status_code == 200
        token = (await refresh(client, token["refresh_token"])).json()
    assert await is_accepted(app, token["access_token"])


async def test_refresh_concurrent_with_revocation_does_not_deadlock(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    """Both lock in the same order, so that one waits for the other and neither gets a 5xx."""
    for _ in range(5):
        token = await sign_in_to_api(client, ann)
        calls = [refresh(client, token["refresh_token"]) for _ in range(4)]
        calls += [client.post("/api/v1/auth/revoke", data={"token": token["refresh_token"]})]
        responses = await asyncio.gather(*calls)
        assert {response.status_code for response in responses} <= {200, 400}
        assert not await is_accepted(app, token["access_token"])


async def test_refresh_narrows_the_scope_and_never_widens_it(
    client: httpx.AsyncClient, root: Person
) -> None:
    token = await sign_in_to_api(client, root, scope="account")
    wider = await refresh(client, token["refresh_token"], scope="account users:admin")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    same = await refresh(client, token["refresh_token"])  # the error did not use it up
    assert same.json()["scope"] == "account"
    both = await sign_in_to_api(client, root, scope="account users:admin")
    narrow = (await refresh(client, both["refresh_token"], scope="account")).json()
    assert narrow["scope"] == "account"
    again = (await refresh(client, narrow["refresh_token"])).json()
    assert again["scope"] == "account users:admin"  # RFC 6749, section 6: what was granted


async def test_refresh_after_the_end_of_the_session_is_refused(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    token = (await refresh(client, token["refresh_token"])).json()
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(AuthSession).values(expires_at=utc_now()))
    assert (await refresh(client, token["refresh_token"])).status_code == 400
    assert not await is_accepted(app, token["access_token"])


@pytest.mark.parametrize("token", ["", "x", "\x00", "é" * 5000])
async def test_unknown_refresh_token_returns_400(client: httpx.AsyncClient, token: str) -> None:
    response = await refresh(client, token)
    assert response.status_code == 400
    assert response.json()["error"] == ("invalid_grant" if token else "invalid_request")


async def test_refresh_of_a_deactivated_user_is_refused(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(User).values(is_active=False))
    assert (await refresh(client, token["refresh_token"])).status_code == 400


async def test_expired_session_is_deleted_at_a_sign_in(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await sign_in_to_api(client, ann)
    past = utc_now() - timedelta(seconds=1)
    async with app.state.resources.database.transaction() as session:
        await session.execute(
            update(AuthSession).where(AuthSession.user_id == ann.id).values(expires_at=past)
        )
    await sign_in_to_api(client, bob)
    async with app.state.resources.database.reading() as session:
        assert set(await session.scalars(select(AuthSession.user_id))) == {bob.id}
        statement = select(func.count()).select_from(RefreshToken)
        assert await session.scalar(statement) == 1


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revocation_ends_the_whole_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, kind: str
) -> None:
    token, other = await sign_in_to_api(client, ann), await sign_in_to_api(client, ann)
    form = {"token": token[kind], "token_type_hint": kind}
    response = await client.post("/api/v1/auth/revoke", data=form)
    assert (response.status_code, response.content) == (200, b"")
    assert not await is_accepted(app, token["access_token"])
    assert (await refresh(client, token["refresh_token"])).status_code == 400
    assert await is_accepted(app, other["access_token"])
    assert (await client.post("/api/v1/auth/revoke", data=form)).status_code == 200


async def test_expired_access_token_revokes_nothing(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    claims = jwt.get_unverified_claims(ann.token)
    tokens = AccessTokens(SECRET_KEY, timedelta(minutes=-1))
    expired = tokens.issue(ann.id, UUID(claims["sid"]), frozenset({"account"}))
    response = await client.post("/api/v1/auth/revoke", data={"token": expired})
    assert response.status_code == 200
    assert await is_accepted(app, ann.token)


async def test_session_that_is_not_used_ends_after_the_idle_time(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann)
    async with app.state.resources.database.transaction() as session:
        row = (await session.scalars(select(AuthSession).order_by(AuthSession.created_at))).all()[1]
        assert timedelta(days=13) < row.expires_at - row.created_at <= timedelta(days=14)
        row.created_at -= timedelta(days=10)
        row.expires_at -= timedelta(days=10)
        id_ = row.id
    token = (await refresh(client, token["refresh_token"])).json()
    async with app.state.resources.database.transaction() as session:
        row = await session.get_one(AuthSession, id_)
        assert timedelta(days=23) < row.expires_at - row.created_at <= timedelta(days=24.1)
        row.created_at -= timedelta(days=10)
    await refresh(client, token["refresh_token"])
    async with app.state.resources.database.reading() as session:
        row = await session.get_one(AuthSession, id_)
        assert row.expires_at - row.created_at == timedelta(days=30)


@needs("pages.py")
async def test_oldest_session_ends_when_a_user_has_too_many(
    app: FastAPI,
    client: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    ann: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.accounts.repository.MAX_SESSIONS_OF_A_USER", 2)
    first = await sign_in_to_api(client, ann)
    assert await is_accepted(app, ann.token)
    await sign_in(browser, ann)
    assert not await is_accepted(app, ann.token)
    await sign_in_to_api(client, ann)
    assert not await is_accepted(app, first["access_token"])
    assert (await browser.get("/account")).status_code == 200
    assert await is_accepted(app, bob.token)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\x00", "x" * 10_000])
async def test_revocation_of_an_invalid_token_returns_200(
    client: httpx.AsyncClient, token: str
) -> None:
    response = await client.post("/api/v1/auth/revoke", data={"token": token})
    assert response.status_code == 200


async def test_sessions_are_listed_and_can_be_ended(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    client.headers["User-Agent"] = "Browser/1.0 " + "x" * 300
    token = await sign_in_to_api(client, ann)
    await refresh(client, token["refresh_token"])
    async with client_of(app, token["access_token"]) as device:
        sessions = (await device.get("/api/v1/auth/sessions")).json()
        first, second = sessions
        assert [session["is_current"] for session in sessions] == [False, True]
        assert second["user_agent"] == client.headers["User-Agent"][:255]
        assert second["address"] == "127.0.0.1"
        assert second["last_used_at"] > second["created_at"]
        response = await device.delete(f"/api/v1/auth/sessions/{first['id']}")
        assert response.status_code == 204
        assert not await is_accepted(app, ann.token)
        response = await device.delete(f"/api/v1/auth/sessions/{first['id']}")
        assert response.status_code == 404


async def test_other_users_session_returns_404(app: FastAPI, ann: Person, bob: Person) -> None:
    (session,) = (await ann.client.get("/api/v1/auth/sessions")).json()
    response = await bob.client.delete(f"/api/v1/auth/sessions/{session['id']}")
    assert response.status_code == 404
    assert await is_accepted(app, ann.token)
