"""The record of what happens to accounts."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.accounts.models import AuthSession, SecurityEvent
from app.accounts.repository import SecurityEventRepository
from app.accounts.service import security_events
from app.core.database.models import utc_now
from app.core.errors import DatabaseUnavailable
from tests.accounts.conftest import Outbox, verify_address
from tests.accounts.steps import (
    NEW_PASSWORD,
    backdate_refresh_tokens,
    change_email,
    event_facts,
    post_to_auth,
    recorded_events,
    refresh,
    reset_password,
    sign_in_to_api,
)
from tests.conftest import PASSWORD, Person, browser_of, client_of, delete_account, sign_in
from tests.slices import needs
from tests.smtp import receiving

TOKEN = "/api/v1/auth/token"
ME = "/api/v1/users/me"
EVENTS = f"{ME}/security-events"
SESSIONS = "/api/v1/auth/sessions"


async def fail_to_sign_in(
    client: httpx.AsyncClient, email: str, password: str = "wrong"
) -> httpx.Response:
    form = {"grant_type": "password", "username": email, "password": password}
    return await client.post(TOKEN, data=form)


async def test_sign_in_is_recorded_with_its_session_and_device(app: FastAPI, ann: Person) -> None:
    async with client_of(app, address="192.0.2.7") as client:
        client.headers["User-Agent"] = "Lynx/1"
        await sign_in_to_api(client, ann)
    (event,) = await recorded_events(app)
    assert (event.kind, event.outcome) == ("sign_in", "success")
    assert (event.subject_id, event.actor_id, event.email_hash) == (ann.id, ann.id, None)
    assert (event.address, event.user_agent) == ("192.0.2.7", "Lynx/1")
    async with app.state.resources.database.reading() as session:
        assert await session.get_one(AuthSession, event.session_id)


async def test_failed_sign_in_is_recorded_for_its_account(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    assert (await fail_to_sign_in(client, ann.email.upper())).status_code == 400
    (event,) = await recorded_events(app)
    assert (event.kind, event.outcome, event.subject_id) == ("sign_in", "failure", ann.id)
    assert (event.actor_id, event.session_id, event.email_hash) == (None, None, None)


async def test_failed_sign_in_with_an_unknown_address_is_recorded_by_its_keyed_hash(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for email in ("eve@example.com", "Eve@Example.com", "eva@example.com", "\x00", "x" * 400):
        assert (await fail_to_sign_in(client, email)).status_code == 400
    first, again, other, *_ = found = await recorded_events(app)
    assert first.email_hash == again.email_hash != other.email_hash
    for event in found:
        assert len(event.email_hash or "") == 64
        assert (event.subject_id, event.actor_id) == (None, None)
        assert "ev" not in f"{event.address} {event.user_agent}"


@needs("pages.py")
async def test_sign_in_in_the_browser_of_another_user_is_recorded_for_the_new_one(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await sign_in(browser, bob)
    await sign_in(browser, ann)
    assert await event_facts(app) == [
        ("sign_in", "success", bob.id, bob.id),
        ("session_ended", "success", bob.id, bob.id),
        ("sign_in", "success", ann.id, ann.id),
    ]


async def test_refused_scope_is_no_event(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    form = {"grant_type": "password", "username": ann.email, "password": PASSWORD}
    response = await client.post(TOKEN, data=form | {"scope": "everything"})
    assert response.json()["error"] == "invalid_scope"
    assert await recorded_events(app) == []


async def test_reuse_of_a_refresh_token_is_recorded_with_the_end_of_its_session(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    first = await sign_in_to_api(client, ann)
    await refresh(client, first["refresh_token"])
    await backdate_refresh_tokens(app, 11)
    assert (await refresh(client, first["refresh_token"])).status_code == 400
    assert (await event_facts(app))[1:] == [
        ("refresh_token_reused", "failure", ann.id, None),
        ("session_ended", "success", ann.id, None),
    ]
    assert len({event.session_id for event in await recorded_events(app)}) == 1


async def test_end_of_a_session_is_recorded_once(app: FastAPI, ann: Person) -> None:
    (session,) = (await ann.client.get(SESSIONS)).json()
    for _ in range(2):
        await ann.client.post("/api/v1/auth/revoke", data={"token": ann.token})
    (event,) = await recorded_events(app)
    assert (event.kind, event.actor_id) == ("session_ended", ann.id)
    assert event.session_id == UUID(session["id"])


@needs("admin.py")
async def test_session_that_is_ended_by_an_administrator_is_recorded_for_its_user(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    (session,) = (await ann.client.get(SESSIONS)).json()
    await admin.post("/admin/auth-session/delete", data={f"select-{session['id']}": "on"})
    assert (await event_facts(app))[1:] == [("session_ended", "success", ann.id, root.id)]
    assert (await recorded_events(app))[1].session_id == UUID(session["id"])


async def test_changes_of_the_own_account_are_recorded(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    await ann.client.post(f"{ME}/password", json=body)
    await ann.client.post(f"{ME}/password", json=body | {"current_password": PASSWORD})
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    await reset_password(client, token, PASSWORD)
    await sign_in_to_api(client, ann)
    assert await event_facts(app) == [
        ("password_check", "failure", ann.id, ann.id),
        ("password_changed", "success", ann.id, ann.id),
        ("session_ended", "success", ann.id, ann.id),
        ("password_reset", "success", ann.id, ann.id),
        ("sign_in", "success", ann.id, ann.id),
    ]


async def test_change_of_the_address_and_its_undo_are_recorded(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_email(ann, "new@example.com")
    token = await outbox.token("new@example.com", "verify")
    await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD)
    await post_to_auth(client, "undo-email", token=await outbox.token(ann.email, "undo"))
    assert [kind for kind, *_ in await event_facts(app)] == [
        "email_change_requested",
        "email_changed",
        "session_ended",
        "email_restored",
    ]


async def test_new_account_and_its_confirmation_are_recorded(
    app: FastAPI, client: httpx.AsyncClient, outbox: Outbox
) -> None:
    account = {"email": "eve@example.com", "password": PASSWORD}
    user_id = (await client.post("/api/v1/users", json=account)).json()["id"]
    assert (await client.post("/api/v1/users", json=account)).status_code == 409
    token = await outbox.token("eve@example.com", "verify")
    await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD)
    assert await event_facts(app) == [
        ("user_created", "success", user_id, user_id),
        ("email_confirmed", "success", user_id, user_id),
    ]


async def test_changes_by_an_administrator_are_recorded_with_the_actor(
    app: FastAPI, root: Person, ann: Person
) -> None:
    url = f"/api/v1/users/{ann.id}"
    for change in ({"full_name": "Ann"}, {"is_superuser": True}, {"is_active": False}):
        assert (await root.client.patch(url, json=change)).status_code == 200
    assert (await root.client.patch(url, json={"is_active": True})).status_code == 200
    assert (await root.client.delete(url)).status_code == 204
    kinds = ["user_changed", "session_ended", "role_changed", "user_deactivated"]
    kinds += ["user_activated", "user_deleted"]
    assert await event_facts(app) == [(kind, "success", ann.id, root.id) for kind in kinds]


@needs("admin.py")
async def test_change_that_is_rolled_back_is_not_recorded(
    app: FastAPI, root: Person, ann: Person, admin: httpx.AsyncClient
) -> None:
    before = await event_facts(app)
    refused = await admin.post(
        "/admin/user/delete", data={f"select-{each.id}": "on" for each in (ann, root)}
    )
    assert refused.status_code == 409
    assert await event_facts(app) == before


async def test_event_that_cannot_be_written_rolls_back_the_change(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("The database is away.")

    monkeypatch.setattr(SecurityEventRepository, "record", fail)
    assert (await delete_account(ann)).status_code == 503
    assert (await ann.client.get(ME)).status_code == 200


async def test_failure_that_cannot_be_recorded_is_answered_as_before(
    client: httpx.AsyncClient,
    ann: Person,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("The database is away.")

    monkeypatch.setattr(SecurityEventRepository, "record", fail)
    assert (await fail_to_sign_in(client, ann.email)).status_code == 400
    assert "A failure is not recorded (sign_in): The database is away." in caplog.text


async def test_flood_of_failures_is_recorded_up_to_a_limit(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def verify(password: str, hash_: str | None) -> tuple[bool, None]:
        return False, None

    monkeypatch.setattr(app.state.resources.passwords, "verify", verify)  # hashing takes a while
    for network in range(5):
        async with client_of(app, address=f"192.0.2.{network}") as client:
            for n in range(20):
                await fail_to_sign_in(client, f"{n}@example.com")
    addresses = [event.address for event in await recorded_events(app)]
    assert [addresses.count(f"192.0.2.{network}") for network in range(5)] == [10, 10, 10, 0, 0]
    assert caplog.text.count("Too many failures (sign_in)") == 1
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    await ann.client.post(f"{ME}/password", json=body)
    assert (await event_facts(app))[-1] == ("password_check", "failure", ann.id, ann.id)
    assert len(addresses) == security_events.MAX_FAILURES


async def test_owner_lists_the_events_of_the_own_account_in_pages(
    client: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    for person in (ann, bob, ann, ann):
        await sign_in_to_api(client, person)
    first = await ann.client.get(EVENTS, params={"limit": 2, "with_total": True})
    assert first.headers["Link"].endswith('rel="next"')
    page = first.json()
    assert page["total"] == 3
    rest = (await ann.client.get(EVENTS, params={"limit": 2, "cursor": page["next"]})).json()
    assert rest["next"] is None
    ids = [event["id"] for event in page["results"] + rest["results"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    assert {event["actor"] for event in page["results"]} == {"owner"}
    oldest = (await ann.client.get(EVENTS, params={"sort": "id", "limit": 1})).json()
    assert oldest["results"][0]["id"] == ids[-1]


@needs("items")
async def test_list_of_events_takes_the_scope_account(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = (await sign_in_to_api(client, ann, scope="account"))["access_token"]
    async with client_of(app, token) as allowed:
        assert (await allowed.get(EVENTS)).status_code == 200
    token = (await sign_in_to_api(client, ann, scope="items:read"))["access_token"]
    async with client_of(app, token) as narrow:
        assert (await narrow.get(EVENTS)).status_code == 403
    assert (await client.get(EVENTS)).status_code == 401


async def test_owner_does_not_see_where_an_administrator_is(
    app: FastAPI, root: Person, ann: Person
) -> None:
    root.client.headers["User-Agent"] = "Root's own browser"
    url = f"/api/v1/users/{ann.id}"
    assert (await root.client.patch(url, json={"full_name": "Ann"})).status_code == 200
    (event,) = (await ann.client.get(EVENTS)).json()["results"]
    assert (event["kind"], event["actor"]) == ("user_changed", "administrator")
    assert (event["address"], event["user_agent"], event["session_id"]) == (None, None, None)


async def test_events_of_a_deleted_account_stay_and_are_not_shown_to_a_later_one(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in_to_api(client, ann)
    assert (await delete_account(ann)).status_code == 204
    before = await event_facts(app)
    assert before[-1] == ("user_deleted", "success", ann.id, ann.id)
    account = {"email": "eve@example.com", "password": PASSWORD}
    eve = (await client.post("/api/v1/users", json=account)).json()["id"]
    async with app.state.resources.database.transaction() as session:  # SQLite gives it again
        await session.execute(update(SecurityEvent).values(subject_id=eve))
    form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
    token = (await client.post(TOKEN, data=form)).json()["access_token"]
    async with client_of(app, token) as eves:
        page = (await eves.get(EVENTS, params={"with_total": True})).json()
    assert [event["kind"] for event in page["results"]] == ["sign_in", "user_created"]
    assert page["total"] == 2
    assert len(await recorded_events(app)) == len(before) + 2


@needs("pages.py")
async def test_account_page_shows_the_latest_20_events(app: FastAPI, ann: Person) -> None:
    async with browser_of(app, **{"User-Agent": "<script>"}) as browser:
        assert (await fail_to_sign_in(browser, ann.email)).status_code == 400
        for _ in range(2):
            await sign_in(browser, ann)
        page = (await browser.get("/account")).text
        assert page.count("Signed in") == 2
        assert page.count("Failed to sign in") == 1
        assert "Signed out a device" in page
        assert "&lt;script&gt;" in page
        assert "<script>" not in page
        async with app.state.resources.database.transaction() as session:
            for _ in range(21):
                session.add(SecurityEvent(kind="sign_in", outcome="success", subject_id=ann.id))
        page = (await browser.get("/account")).text
        assert page.count("Signed in") == 20
        assert "Failed to sign in" not in page


@needs("pages.py")
async def test_event_of_an_unknown_kind_is_shown(app: FastAPI, ann: Person) -> None:
    """A later version of the code, which was rolled back, may have recorded it."""
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        async with app.state.resources.database.transaction() as session:
            await session.execute(update(SecurityEvent).values(kind="from_the_future"))
        assert "from_the_future" in (await browser.get("/account")).text
    assert (await ann.client.get(EVENTS)).json()["results"][0]["kind"] == "from_the_future"


async def test_events_older_than_the_setting_are_deleted(app: FastAPI, ann: Person) -> None:
    days = app.state.resources.settings.security_event_days
    async with app.state.resources.database.transaction() as session:
        for age_in_days in (days - 1, days + 1):
            created_at = utc_now() - timedelta(days=age_in_days)
            session.add(SecurityEvent(kind="sign_in", outcome="success", created_at=created_at))
    assert await app.state.resources.accounts.auth.clean_up() == 1
    (event,) = await recorded_events(app)
    assert event.created_at > utc_now() - timedelta(days=days)


async def test_log_of_jobs_holds_no_address_and_no_token(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving() as inbox:
        mailer = app.state.resources.mailer
        mailer._server = {"hostname": "127.0.0.1", "port": int(inbox.url.rpartition(":")[2])}
        mailer._server["start_tls"] = None
        refusal = f"<{ann.email}>: this recipient"
        inbox.responses = [f"550 {refusal} is unknown", f"450 {refusal} is busy"]
        for _ in range(3):
            assert await post_to_auth(client, "password-reset", email=ann.email) == 202
            await app.state.resources.jobs.drain()
        (message,) = inbox.messages
    text = message.get_body(("plain",))
    assert text is not None
    token = text.get_content().partition("token=")[2].split()[0]
    assert len(token) > 40
    assert "send_token_mail" in caplog.text
    assert "The mail server refused the mail (550)." in caplog.text
    assert "Unavailable: The mail server cannot accept email at the moment." in caplog.text
    for record in caplog.records:
        if record.name == "mail.log":  # of the mail server in this test
            continue
        line = f"{record.getMessage()} {record.exc_text} {record.args}"
        assert ann.email not in line
        assert token not in line
