"""The cookie that a browser is signed in by."""

import re
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.models import AuthSession, User
from app.core.database.models import utc_now
from tests.accounts.conftest import Outbox
from tests.accounts.pages import is_signed_in
from tests.conftest import (
    PASSWORD,
    Person,
    browser_of,
    counted_statements,
    make_person,
    make_settings,
    running,
    sign_in,
)

SESSIONS = "/api/v1/auth/sessions"


def cookie_of(response: httpx.Response) -> Morsel[str]:
    """Return the cookie of the session."""
    cookies = [SimpleCookie(each) for each in response.headers.get_list("Set-Cookie")]
    (morsel,) = (
        morsel for each in cookies for morsel in each.values() if "auth_session" in morsel.key
    )
    return morsel


async def row_of(app: FastAPI, browser: httpx.AsyncClient, person: Person) -> AuthSession:
    async with app.state.resources.database.reading() as session:
        statement = select(AuthSession).where(AuthSession.user_id == person.id)
        statement = statement.where(AuthSession.cookie_hash.is_not(None))
        row: AuthSession = (await session.scalars(statement)).one()
        return row


async def change(app: FastAPI, statement: Any) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(statement)


@pytest.mark.parametrize(
    ("public_url", "name", "is_secure"),
    [
        ("http://127.0.0.1:8000", "auth_session", False),
        ("https://example.com", "__Host-auth_session", True),
        ("HTTPS://example.com", "__Host-auth_session", True),
    ],
)
async def test_cookie_has_the_flags_of_its_scheme(
    database_url: str, password_hash: str, public_url: str, name: str, is_secure: bool
) -> None:
    async with running(make_settings(database_url, public_url=public_url)) as app:
        ann = await make_person(app, password_hash, "ann")
        async with browser_of(app) as browser, ann.client:
            browser.base_url = httpx.URL("https://localhost" if is_secure else "http://localhost")
            signed_in = await sign_in(browser, ann)
            cookie = cookie_of(signed_in)
            assert await is_signed_in(browser)
            out = cookie_of(await browser.post("/logout"))
            assert not await is_signed_in(browser)
    for each in (cookie, out):  # one that differs would delete another cookie
        assert each.key == name
        assert (each["path"], each["domain"]) == ("/", "")
        assert (each["samesite"], each["httponly"], bool(each["secure"])) == (
            "lax",
            True,
            is_secure,
        )
    assert (cookie["max-age"], out["max-age"]) == (str(30 * 24 * 3600), "0")
    assert len(cookie.value) >= 43  # 256 bits
    assert signed_in.headers["Location"] == "/"


async def test_signed_in_browser_is_redirected_home(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    for path in ("/login?next=/account", "/signup?next=/account"):
        assert (await browser.get(path)).headers["Location"] == "/account"
    home = await browser.get("/")
    assert home.status_code == 303
    assert (await browser.get(home.headers["Location"])).status_code == 200


async def test_cookie_is_stored_as_a_hash(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    value = cookie_of(await sign_in(browser, ann)).value
    row = await row_of(app, browser, ann)
    assert value not in (row.cookie_hash, str(row.id))


async def test_browser_session_is_listed_and_can_be_ended(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    browser.headers["User-Agent"] = "Firefox/1"
    await sign_in(browser, ann)
    api, cookie = (await ann.client.get(SESSIONS)).json()
    assert (api["is_current"], cookie["user_agent"]) == (True, "Firefox/1")
    assert cookie["address"] == "127.0.0.1"
    assert (await ann.client.delete(f"{SESSIONS}/{cookie['id']}")).status_code == 204
    assert not await is_signed_in(browser)


async def test_password_change_and_deactivation_end_the_browser_session(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, root: Person
) -> None:
    await sign_in(browser, ann)
    change_password = {"current_password": PASSWORD, "new_password": "a better horse battery"}
    await ann.client.post("/api/v1/users/me/password", json=change_password)
    assert not await is_signed_in(browser)
    form = {"email": ann.email, "password": "a better horse battery"}
    assert (await browser.post("/login", data=form)).status_code == 303
    assert await is_signed_in(browser)
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": False})
    assert not await is_signed_in(browser)
    assert (await browser.post("/login", data=form)).status_code == 422


async def test_browser_session_expires(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    row = await row_of(app, browser, ann)
    assert row.expires_at - row.created_at == pytest.approx(
        timedelta(days=14), abs=timedelta(seconds=9)
    )
    await change(app, update(AuthSession).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert not await is_signed_in(browser)


async def test_deactivated_user_is_signed_out(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    await change(app, update(User).values(is_active=False))
    assert not await is_signed_in(browser)


async def test_cookie_is_refused_by_the_api_of_a_site_without_docs_and_front_end(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.resources.settings, "docs_enabled", False)
    value = cookie_of(await sign_in(browser, ann)).value
    assert (await browser.get("/api/v1/users/me")).status_code == 401
    bearer = {"Authorization": f"Bearer {value}"}
    assert (await browser.get("/api/v1/users/me", headers=bearer)).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": value}
    assert (await browser.post("/api/v1/auth/token", data=form)).status_code == 400
    await browser.post("/api/v1/auth/revoke", data={"token": value})
    assert await is_signed_in(browser)


async def test_access_token_is_refused_by_pages(app: FastAPI, ann: Person) -> None:
    assert not await is_signed_in(ann.client)


@pytest.mark.parametrize("value", ["", "x", "x" * 4000, "é", '"a"', "a\\303b"])
async def test_unknown_cookie_is_signed_out(browser: httpx.AsyncClient, value: str) -> None:
    headers = {"Cookie": f"auth_session={value}".encode()}
    assert (await browser.get("/account", headers=headers)).status_code == 303  # type: ignore[arg-type]  # bytes will do


async def test_sign_in_replaces_the_previous_session(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    """A cookie that was planted, or left behind by another user, gives no access afterwards."""
    first = cookie_of(await sign_in(browser, ann)).value
    async with browser_of(app) as other:
        other.cookies.set("auth_session", first)
        assert await is_signed_in(other)
        second = cookie_of(await sign_in(browser, bob)).value
        assert first != second
        assert not await is_signed_in(other)
    assert bob.email in (await browser.get("/account")).text
    assert (await browser.post("/login", data={"email": "x", "password": "y"})).status_code == 422
    assert await is_signed_in(browser)  # a failed attempt ends nothing


async def test_sign_out_ends_the_session_and_deletes_the_cookie(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    value = cookie_of(await sign_in(browser, ann)).value
    shown = await browser.get("/account")
    assert shown.headers["Cache-Control"] == "no-store"  # "back" shows nothing
    out = await browser.post("/logout")
    assert (out.status_code, out.headers["Location"]) == (303, "/login")
    assert "You are signed out." in (await browser.get(out.headers["Location"])).text
    async with browser_of(app) as thief:
        thief.cookies.set("auth_session", value)
        assert not await is_signed_in(thief)
    assert (await browser.post("/logout")).status_code == 303  # once more does no harm
    assert (await browser.get("/logout")).status_code == 405


async def test_cookie_costs_no_query_but_its_look_up(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    async with counted_statements(app) as statements:
        await browser.get("/")
    assert statements == []
    async with counted_statements(app) as statements:
        await browser.get("/account")
    # The user, their sessions, their events, their second factor and their API keys.
    assert len(statements) == 5
    browser.cookies.clear()
    async with counted_statements(app) as statements:
        await browser.get("/login")
    assert statements == []


async def test_last_use_is_written_at_intervals(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    await sign_in(browser, ann)
    before = (await row_of(app, browser, ann)).last_used_at
    await browser.get("/account")
    await outbox.settle()
    assert (await row_of(app, browser, ann)).last_used_at == before
    long_ago = before - timedelta(minutes=16)
    await change(app, update(AuthSession).values(last_used_at=long_ago))
    app.state.resources.session_cache.forget_all()  # as after that time
    await browser.get("/account")
    await outbox.settle()
    assert (await row_of(app, browser, ann)).last_used_at > before


async def test_wrong_password_and_unknown_address_look_the_same(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    pages = set()
    for email, password in ((ann.email, "my dog's name"), ("nobody@example.com", PASSWORD)):
        refused = await browser.post("/login", data={"email": email, "password": password})
        assert refused.status_code == 422
        assert "Set-Cookie" not in refused.headers
        value = f'value="{email}"'
        assert value in refused.text
        assert password not in refused.text
        pages.add(refused.text.replace(value, ""))
    assert len(pages) == 1  # nobody learns who has an account
    assert "The email address or password is wrong." in pages.pop()


async def test_too_many_attempts_return_429(browser: httpx.AsyncClient, ann: Person) -> None:
    form = {"email": ann.email, "password": "wrong"}
    statuses = [(await browser.post("/login", data=form)).status_code for _ in range(10)]
    assert set(statuses) == {422}
    limited = await browser.post("/login", data=form | {"password": PASSWORD})
    assert limited.status_code == 429
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    assert "Too many requests" in limited.text
    assert f'value="{ann.email}"' in limited.text


async def test_sign_in_returns_to_the_requested_page(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    asked = await browser.get("/account?a=b")
    assert asked.headers["Location"] == "/login?next=/account%3Fa%3Db"
    login = await browser.get(asked.headers["Location"])
    back, *_ = re.findall('name="next" value="([^"]*)"', login.text)
    form = {"email": ann.email, "password": PASSWORD, "next": back}
    assert (await browser.post("/login", data=form)).headers["Location"] == "/account?a=b"
    ended = await browser.post("/logout")
    assert (await browser.post("/account/password")).headers["Location"] == "/login"
    assert ended.status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://evil.example",
        "/%5Cevil",
    ],
)
async def test_sign_in_redirects_to_no_other_site(
    browser: httpx.AsyncClient, ann: Person, path: str
) -> None:
    form = {"email": ann.email, "password": PASSWORD, "next": path}
    assert (await browser.post("/login", data=form)).headers["Location"] == "/"
    for page in ("/login", "/signup"):
        response = await browser.get(page, params={"next": path})
        assert response.headers["Location"] == "/"


async def test_unconfirmed_address_is_refused_when_required(
    database_url: str, password_hash: str
) -> None:
    settings = make_settings(database_url, require_verified_email=True)
    async with running(settings) as app, browser_of(app) as browser:
        ann = await make_person(app, password_hash, "ann")
        form = {"email": ann.email, "password": PASSWORD}
        refused = await browser.post("/login", data=form)
        assert (refused.status_code, "not confirmed yet" in refused.text) == (422, True)
        assert "/verify-email" in refused.text  # the way to another mail
        await ann.client.aclose()
