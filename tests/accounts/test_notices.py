"""The mails that tell an owner of what has changed in the account."""

import re
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.models import EmailToken, RecoveryCode, SecondFactor, User
from app.core.database.models import utc_now
from tests.accounts.conftest import Authenticator, Outbox, verify_address
from tests.accounts.steps import (
    AUTH,
    NEW_PASSWORD,
    change_and_confirm_email,
    is_accepted,
    post_to_auth,
    reset_password,
    sign_in_to_api,
)
from tests.conftest import PASSWORD, Person, browser_of
from tests.slices import needs

ME = "/api/v1/users/me"


async def count(outbox: Outbox, email: str, template: str) -> int:
    return (await outbox.to()).count((email, template))


@pytest.mark.parametrize("by", ["owner", "mail", "superuser"])
async def test_changed_password_is_told_to_the_owner(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person, outbox: Outbox, by: str
) -> None:
    match by:
        case "owner":
            body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
            assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 204
        case "mail":
            await post_to_auth(client, "password-reset", email=ann.email)
            token = await outbox.token(ann.email, "reset")
            assert await reset_password(client, token) == 204
        case _:
            await app.state.resources.accounts.users.set_password(ann.id, NEW_PASSWORD)
    assert await count(outbox, ann.email, "password_changed") == 1


async def test_first_sign_in_of_an_account_is_not_told(
    client: httpx.AsyncClient, outbox: Outbox
) -> None:
    account = {"email": "eve@example.com", "password": PASSWORD}
    assert (await client.post("/api/v1/users", json=account)).status_code == 201
    form = {"grant_type": "password", "username": "eve@example.com", "password": PASSWORD}
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 200
    assert await count(outbox, "eve@example.com", "new_device") == 0


@needs("pages.py")
async def test_sign_in_from_a_new_device_is_told_once(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await sign_in_to_api(client, ann)
    assert await count(outbox, ann.email, "new_device") == 1
    await sign_in_to_api(client, ann)
    assert await count(outbox, ann.email, "new_device") == 1
    async with browser_of(app, **{"User-Agent": "Firefox/1"}) as browser:
        for _ in range(2):
            form = {"email": ann.email, "password": PASSWORD}
            assert (await browser.post("/login", data=form)).status_code == 303
    assert await count(outbox, ann.email, "new_device") == 2
    form = {"grant_type": "password", "username": ann.email, "password": "wrong"}
    headers = {"User-Agent": "other"}
    assert (await client.post(f"{AUTH}/token", data=form, headers=headers)).status_code == 400
    assert await count(outbox, ann.email, "new_device") == 2


async def test_change_of_a_confirmed_address_can_be_undone_from_the_old_one(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_and_confirm_email(client, outbox, ann, "thief@example.com")
    token = await outbox.token(ann.email, "undo")
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 204
    assert await post_to_auth(client, "undo-email", token=token) == 204
    assert await post_to_auth(client, "undo-email", token=token) == 422
    assert not await is_accepted(app, ann.token)
    form = {"grant_type": "password", "username": ann.email, "password": NEW_PASSWORD}
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 400  # it is discarded
    await post_to_auth(client, "password-reset", email=ann.email)
    reset = await outbox.token(ann.email, "reset")
    assert await reset_password(client, reset) == 204
    assert (await client.post(f"{AUTH}/token", data=form)).status_code == 200


@pytest.mark.parametrize(("days", "stays"), [(4, True), (2, False), (0, False)])
async def test_undone_change_keeps_the_app_that_the_owner_had_long_before(
    app: FastAPI,
    client: httpx.AsyncClient,
    ann: Person,
    outbox: Outbox,
    authenticator: Authenticator,
    days: int,
    stays: bool,
) -> None:
    """A thief may set one up before changing the address: the owner has had three days' notice."""
    await verify_address(app, ann)
    await authenticator.set_up(ann)
    async with app.state.resources.database.transaction() as session:
        age = timedelta(days=days)
        await session.execute(update(SecondFactor).values(enabled_at=utc_now() - age))
    await change_and_confirm_email(client, outbox, ann, "thief@example.com")
    token = await outbox.token(ann.email, "undo")
    assert await post_to_auth(client, "undo-email", token=token) == 204
    async with app.state.resources.database.reading() as session:
        assert bool((await session.scalars(select(SecondFactor))).all()) is stays
        # The thief may have made these, and they open the account beside the owner's app.
        assert not (await session.scalars(select(RecoveryCode))).all()


async def test_undo_of_the_first_change_outlives_a_second_and_ends_its_undo(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_and_confirm_email(client, outbox, ann, "thief@example.com")
    await change_and_confirm_email(client, outbox, ann, "thief@example.org")
    thiefs = await outbox.token("thief@example.com", "undo")
    owners = await outbox.token(ann.email, "undo")
    assert await post_to_auth(client, "undo-email", token=owners) == 204
    assert await post_to_auth(client, "undo-email", token=thiefs) == 422
    async with app.state.resources.database.reading() as session:
        assert (await session.get_one(User, ann.id)).email == ann.email


async def test_address_that_was_never_confirmed_gets_no_link(
    client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    """The address may belong to a stranger, if it was mistyped."""
    await change_and_confirm_email(client, outbox, ann, "ann@example.org")
    assert await count(outbox, ann.email, "undo") == 0


async def test_link_that_undoes_a_change_is_valid_for_72_hours(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_and_confirm_email(client, outbox, ann, "ann@example.org")
    token = await outbox.token(ann.email, "undo")
    async with app.state.resources.database.transaction() as session:
        stored = (await session.scalars(select(EmailToken))).one()
        left = stored.expires_at - utc_now()
        assert timedelta(hours=71) < left <= timedelta(hours=72)
        stored.expires_at = utc_now()
    assert await post_to_auth(client, "undo-email", token=token) == 422


@needs("pages.py")
async def test_page_that_undoes_a_change_leads_to_a_new_password(
    app: FastAPI, client: httpx.AsyncClient, browser: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_and_confirm_email(client, outbox, ann, "ann@example.org")
    token = await outbox.token(ann.email, "undo")
    page = await browser.get("/undo-email", params={"token": token})
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert re.findall('name="token" value="([^"]+)"', page.text) == [token]
    done = await browser.post("/undo-email", data={"token": token})
    assert done.headers["Location"] == "/forgot-password"
    assert "Your address is restored" in (await browser.get(done.headers["Location"])).text
    again = await browser.post("/undo-email", data={"token": token})
    assert (again.status_code, "is invalid or has expired" in again.text) == (422, True)


@needs("pages.py")
async def test_undo_of_a_change_is_refused_when_the_old_address_has_another_account(
    app: FastAPI, client: httpx.AsyncClient, browser: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await verify_address(app, ann)
    await change_and_confirm_email(client, outbox, ann, "ann@example.org")
    token = await outbox.token(ann.email, "undo")
    account = {"email": ann.email, "password": PASSWORD}
    assert (await client.post("/api/v1/users", json=account)).status_code == 201
    assert await post_to_auth(client, "undo-email", token=token) == 409
    page = await browser.post("/undo-email", data={"token": token})
    assert (page.status_code, "An account with this email" in page.text) == (422, True)
    assert (await ann.client.get(ME)).json()["email"] == "ann@example.org"


async def test_every_notice_can_be_written(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    emails = app.state.resources.accounts.emails
    for kind in (
        *("change", "password_changed", "new_device", "api_key_created"),
        *("second_factor_enabled", "second_factor_disabled"),
        *("recovery_code_used", "recovery_codes_renewed"),
    ):
        with caplog.at_level("INFO", "app.mail"):
            await emails.send_notice_mail(kind, "ann@example.com")
    assert caplog.text.count("http://127.0.0.1:8000/forgot-password") == 8
