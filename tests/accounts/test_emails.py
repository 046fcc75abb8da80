import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import func, select, update

from app.accounts.models import EmailToken, User
from app.accounts.repository import UserRepository
from app.core.database.models import utc_now
from tests.accounts.conftest import Outbox, queued_jobs
from tests.accounts.steps import (
    AUTH,
    NEW_PASSWORD,
    change_email,
    is_accepted,
    post_to_auth,
    refresh,
    reset_password,
    sign_in_to_api,
)
from tests.conftest import (
    PASSWORD,
    Person,
    browser_of,
    client_of,
    delete_account,
    make_person,
    make_settings,
    only,
    running,
    sign_in,
)
from tests.slices import needs


async def test_confirmed_address_is_verified(client: httpx.AsyncClient, outbox: Outbox) -> None:
    account = {"email": "eve@example.com", "password": PASSWORD}
    user = (await client.post("/api/v1/users", json=account)).json()
    assert user["is_verified"] is False
    token = await outbox.token("eve@example.com", "verify")
    assert await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD) == 204
    assert await post_to_auth(client, "verify-email", token=token) == 422  # once
    form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
    access = (await client.post(f"{AUTH}/token", data=form)).json()["access_token"]
    headers = {"Authorization": f"Bearer {access}"}
    assert (await client.get("/api/v1/users/me", headers=headers)).json()["is_verified"] is True


async def test_mailed_token_is_neither_stored_nor_queued(
    app: FastAPI, client: httpx.AsyncClient, outbox: Outbox
) -> None:
    await client.post("/api/v1/users", json={"email": "eve@example.com", "password": PASSWORD})
    queued = await queued_jobs(app)
    token = await outbox.token("eve@example.com", "verify")
    async with app.state.resources.database.reading() as session:
        stored = (await session.scalars(select(EmailToken))).one()
    assert token not in (stored.token_hash, str(stored.id))
    assert queued == [("send_token_mail", [str(stored.id), "en"])]


async def test_password_reset_sets_the_password_and_ends_sessions(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    assert await post_to_auth(client, "password-reset", email="ANN@example.com") == 202
    token = await outbox.token(ann.email, "reset")
    assert await reset_password(client, token, "short") == 422
    assert await reset_password(client, token) == 204
    assert await reset_password(client, token) == 422
    assert not await is_accepted(app, ann.token)
    form = {"grant_type": "password", "username": ann.email, "password": NEW_PASSWORD}
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 200


async def test_reset_token_used_concurrently_works_once(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    statuses = await asyncio.gather(*(reset_password(client, token) for _ in range(4)))
    assert sorted(statuses) == [204, 422, 422, 422]


async def test_newer_mail_replaces_one_that_expires_soon(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    old = await outbox.token(ann.email, "reset")
    async with app.state.resources.database.transaction() as session:
        soon = utc_now() + timedelta(minutes=10)
        await session.execute(update(EmailToken).values(expires_at=soon))
    await post_to_auth(client, "password-reset", email=ann.email)
    new = await outbox.token(ann.email, "reset")
    assert await reset_password(client, old) == 422
    assert await reset_password(client, new) == 204


async def test_reset_token_expires(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    async with app.state.resources.database.transaction() as session:
        expires_at = await session.scalar(select(EmailToken.expires_at))
        assert timedelta(minutes=29) < expires_at - utc_now() <= timedelta(minutes=30)
        await session.execute(update(EmailToken).values(expires_at=utc_now()))
    assert await reset_password(client, token) == 422


async def test_reset_token_does_not_confirm_an_address(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    assert await post_to_auth(client, "verify-email", token=token) == 422


async def test_password_change_invalidates_the_reset_link(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    await ann.client.post("/api/v1/users/me/password", json=body)
    assert await reset_password(client, token) == 422


@pytest.mark.parametrize("path", ["password-reset", "verify-email/resend"])
async def test_unknown_address_gets_the_same_response_and_no_mail(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox, path: str
) -> None:
    known = await client.post(f"{AUTH}/{path}", json={"email": ann.email})
    unknown = await client.post(f"{AUTH}/{path}", json={"email": "nobody@example.com"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert {to for to, _ in await outbox.to()} == {ann.email}


async def test_confirmed_user_gets_no_second_mail(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(User).values(email_verified_at=utc_now()))
    assert await post_to_auth(client, "verify-email/resend", email=ann.email) == 202
    assert await outbox.to() == []


@pytest.mark.parametrize("token", ["", "x", "\x00", "x" * 128])
async def test_forged_mail_token_returns_422(client: httpx.AsyncClient, token: str) -> None:
    assert await post_to_auth(client, "verify-email", token=token) == 422
    assert await reset_password(client, token) == 422


async def test_new_address_takes_effect_when_it_is_confirmed(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await change_email(ann, "new@example.com")
    assert set(await outbox.to()) == {("new@example.com", "verify"), (ann.email, "change")}
    token = await outbox.token("new@example.com", "verify")
    assert await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD) == 204
    me = (await ann.client.get("/api/v1/users/me")).json()
    assert (me["email"], me["is_verified"]) == ("new@example.com", True)
    form = {"grant_type": "password", "username": ann.email, "password": PASSWORD}
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 400
    form["username"] = "new@example.com"
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 200


async def test_address_of_another_account_cannot_be_confirmed(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person, outbox: Outbox
) -> None:
    await change_email(ann, "BOB@example.com")
    token = await outbox.token("BOB@example.com", "verify")
    assert await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD) == 409
    assert (await ann.client.get("/api/v1/users/me")).json()["email"] == ann.email


async def test_address_confirmed_concurrently_by_two_goes_to_one(
    client: httpx.AsyncClient, ann: Person, bob: Person, outbox: Outbox
) -> None:
    await change_email(ann, "new@example.com")
    first = await outbox.token("new@example.com", "verify")
    await change_email(bob, "New@example.com")
    second = await outbox.token("New@example.com", "verify")
    statuses = await asyncio.gather(
        *(
            post_to_auth(client, "verify-email", token=token, current_password=PASSWORD)
            for token in (first, second)
        )
    )
    assert sorted(statuses) == [204, 409]


async def test_unconfirmed_user_cannot_sign_in_when_verification_is_required(
    database_url: str, password_hash: str
) -> None:
    settings = make_settings(database_url, require_verified_email=True)
    async with running(settings) as app, client_of(app) as client:
        outbox = Outbox(app)
        account = {"email": "eve@example.com", "password": PASSWORD}
        await client.post("/api/v1/users", json=account)
        form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
        response = await client.post(f"{AUTH}/token", data=form)
        assert response.json()["error"] == "invalid_grant"
        wrong = await client.post(f"{AUTH}/token", data=form | {"password": "wrong"})
        assert wrong.json()["detail"] != response.json()["detail"]
        token = await outbox.token("eve@example.com", "verify")
        await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD)
        assert (await client.post(f"{AUTH}/token", data=form)).status_code == 200


async def test_expired_mail_tokens_are_deleted_with_a_new_one(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    await outbox.token(ann.email, "reset")
    async with app.state.resources.database.transaction() as session:
        await session.execute(
            update(EmailToken).values(expires_at=utc_now() - timedelta(seconds=1))
        )
    await post_to_auth(client, "password-reset", email=bob.email)
    await outbox.token(bob.email, "reset")
    async with app.state.resources.database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(EmailToken)) == 1
    await sign_in_to_api(client, ann)


@pytest.mark.parametrize("how", ["change", "reset"])
async def test_password_change_invalidates_a_pending_address(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox, how: str
) -> None:
    """Otherwise, a thief who knew the old password could still take over the account."""
    await change_email(ann, "thief@example.com")
    stolen = await outbox.token("thief@example.com", "verify")
    if how == "change":
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        await ann.client.post("/api/v1/users/me/password", json=body)
    else:
        await post_to_auth(client, "password-reset", email=ann.email)
        token = await outbox.token(ann.email, "reset")
        assert await reset_password(client, token) == 204
    assert await post_to_auth(client, "verify-email", token=stolen) == 422


async def test_reset_link_to_an_old_address_is_refused(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    old = await outbox.token(ann.email, "reset")
    await change_email(ann, "new@example.com")
    token = await outbox.token("new@example.com", "verify")
    assert await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD) == 204
    assert await reset_password(client, old) == 422


async def test_second_request_keeps_the_first_link_valid(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    first = await outbox.token(ann.email, "reset")
    await post_to_auth(client, "password-reset", email=ann.email)
    assert await outbox.token(ann.email, "reset") == first
    assert await reset_password(client, first) == 204


@only("postgresql")  # On SQLite, the job's transaction would keep the other from writing.
@pytest.mark.parametrize("purpose", ["reset", "verify"])
async def test_link_is_not_mailed_to_an_address_that_changes_while_the_job_waits(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    database, lock = app.state.resources.database, UserRepository.lock

    async def change_and_lock(self: UserRepository, user_id: int) -> User | None:
        async with database.transaction() as session:
            new = update(User).values(email="new@example.com", email_key="new@example.com")
            await session.execute(new)
        return await lock(self, user_id)

    monkeypatch.setattr(UserRepository, "lock", change_and_lock)
    await app.state.resources.accounts.emails.start(purpose, ann.email)
    async with database.reading() as session:
        assert (await session.scalars(select(EmailToken))).all() == []


async def test_change_notice_goes_to_the_old_address(
    app: FastAPI, ann: Person, outbox: Outbox
) -> None:
    await change_email(ann, "new@example.com")
    assert (await queued_jobs(app))[-1] == ("send_notice", ["change", ann.email, "en"])


async def test_concurrent_changes_of_one_account_do_not_deadlock(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person, outbox: Outbox
) -> None:
    """The changes are serialized, and none updates a row that another has deleted."""
    await post_to_auth(client, "password-reset", email=ann.email)
    reset = await outbox.token(ann.email, "reset")
    await change_email(ann, "new@example.com")
    verify = await outbox.token("new@example.com", "verify")
    me = "/api/v1/users/me"
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    calls = [ann.client.patch(me, json={"full_name": str(n)}) for n in range(6)]
    calls += [
        ann.client.post(f"{me}/password", json=body),
        client.post(
            f"{AUTH}/password-reset/confirm", json={"token": reset, "password": NEW_PASSWORD}
        ),
        client.post(f"{AUTH}/verify-email", json={"token": verify, "current_password": PASSWORD}),
        root.client.patch(f"/api/v1/users/{ann.id}", json={"full_name": "x"}),
        delete_account(ann),
    ]
    statuses = [response.status_code for response in await asyncio.gather(*calls)]
    assert max(statuses) < 500, statuses


async def test_address_confirmation_without_the_password_is_refused(
    client: httpx.AsyncClient, outbox: Outbox
) -> None:
    """A stranger may have signed up with the address, and would know the password."""
    account = {"email": "eve@example.com", "password": "a stranger's password"}
    await client.post("/api/v1/users", json=account)
    token = await outbox.token("eve@example.com", "verify")
    assert await post_to_auth(client, "verify-email", token=token) == 403
    assert await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD) == 403
    form = {
        "grant_type": "password",
        "username": "eve@example.com",
        "password": account["password"],
    }
    access = (await client.post(f"{AUTH}/token", data=form)).json()["access_token"]
    headers = {"Authorization": f"Bearer {access}"}
    assert not (await client.get("/api/v1/users/me", headers=headers)).json()["is_verified"]
    await post_to_auth(client, "password-reset", email="eve@example.com")
    reset = await outbox.token("eve@example.com", "reset")
    assert await reset_password(client, reset) == 204
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 400
    assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 401


@needs("pages.py")
async def test_address_confirmation_by_another_users_browser_takes_the_password(
    app: FastAPI, ann: Person, bob: Person, outbox: Outbox
) -> None:
    await change_email(ann, "new@example.com")
    token = await outbox.token("new@example.com", "verify")
    async with browser_of(app) as browser:
        await sign_in(browser, bob)
        assert (await browser.post("/verify-email", data={"token": token})).status_code == 422
        await sign_in(browser, ann)
        assert (await browser.post("/verify-email", data={"token": token})).status_code == 303
    assert (await ann.client.get("/api/v1/users/me")).json()["email"] == "new@example.com"


@pytest.mark.parametrize(
    "kind", ["access", "refresh", pytest.param("cookie", marks=needs("pages.py")), "socket"]
)
async def test_unverified_user_loses_access_when_verification_is_required(
    database_url: str, password_hash: str, kind: str
) -> None:
    async with running(make_settings(database_url)) as app, browser_of(app) as browser:
        ann = await make_person(app, password_hash, "ann")
        async with client_of(app) as client:
            token = await sign_in_to_api(client, ann)
        if kind == "cookie":
            await sign_in(browser, ann)
        cookies = browser.cookies
        session_id = jwt.get_unverified_claims(ann.token)["sid"]
    settings = make_settings(database_url, require_verified_email=True)
    async with running(settings) as app, browser_of(app) as browser, client_of(app) as client:

        async def has_access() -> bool:
            match kind:
                case "access":
                    return await is_accepted(app, ann.token)
                case "refresh":
                    return (await refresh(client, token["refresh_token"])).status_code == 200
                case "cookie":
                    browser.cookies = cookies
                    return (await browser.get("/account")).status_code == 200
                case _:
                    active = app.state.resources.accounts.auth.active_session_ids
                    return bool(await active([UUID(session_id)]))

        assert not await has_access()
        async with app.state.resources.database.transaction() as session:
            await session.execute(update(User).values(email_verified_at=utc_now()))
        assert await has_access()
    await ann.client.aclose()


async def test_reset_link_from_before_a_deactivation_is_refused(
    client: httpx.AsyncClient, ann: Person, root: Person, outbox: Outbox
) -> None:
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    for is_active in (False, True):
        await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": is_active})
        assert await reset_password(client, token) == 422
