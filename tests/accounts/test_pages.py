"""The pages that mails link to, and sign-up."""

import httpx
import pytest

from app.accounts.service.browser import BrowserService
from app.core.about import NAME
from app.core.errors import Unavailable
from tests.accounts.conftest import Outbox, described
from tests.accounts.steps import NEW_PASSWORD
from tests.conftest import PASSWORD, Person, browser_of, make_settings, running, sign_in
from tests.pages import SCRIPT, focused_fields

ACCOUNT = {"email": "eve@example.com", "password": PASSWORD}


async def test_account_that_was_created_is_told_when_the_sign_in_is_unavailable(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*given: object) -> None:
        raise Unavailable("Too many passwords are waiting to be checked. Try again in a moment.")

    with monkeypatch.context() as patched:
        patched.setattr(BrowserService, "sign_in", fail)
        done = await browser.post("/signup", data=ACCOUNT | {"next": "/account"})
    assert (done.status_code, done.headers["Location"]) == (303, "/login?next=/account")
    assert "Account created." in (await browser.get(done.headers["Location"])).text
    assert (await browser.post("/login", data=ACCOUNT)).status_code == 303


async def test_sign_up_confirmation_and_sign_in_succeed(
    browser: httpx.AsyncClient, outbox: Outbox
) -> None:
    shown = await browser.get("/signup", params={"next": "/account"})
    for words in ("Email</label>", "Password</label>", "<button>Sign up</button>"):
        assert words in shown.text
    done = await browser.post("/signup", data=ACCOUNT | {"full_name": "", "next": "/account"})
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    account = await browser.get("/account")
    assert "Account created." in account.text
    assert "Confirm <bdi>eve@example.com</bdi>." in account.text
    await browser.post("/logout")
    token = await outbox.token("eve@example.com", "verify")
    for _ in range(2):  # a mail program that looks at it uses nothing up
        link = await browser.get("/verify-email", params={"token": token})
        assert (link.status_code, token in link.text) == (200, True)
    form = {"token": token, "current_password": "wrong"}
    refused = await browser.post("/verify-email", data=form)
    assert (refused.status_code, token in refused.text) == (422, True)
    assert described(refused.text, "current_password") == "The current password is wrong."
    confirmed = await browser.post("/verify-email", data=form | {"current_password": PASSWORD})
    assert confirmed.headers["Location"] == "/login"
    assert "confirmed" in (await browser.get(confirmed.headers["Location"])).text
    again = await browser.post("/verify-email", data={"token": token})
    assert (again.status_code, "is invalid or has expired" in again.text) == (422, True)
    signed_in = await browser.post("/login", data=ACCOUNT | {"next": "/account"})
    assert (signed_in.status_code, signed_in.headers["Location"]) == (303, "/account")
    assert "Confirmed" in (await browser.get("/account")).text


async def test_refused_form_shows_its_errors(browser: httpx.AsyncClient, ann: Person) -> None:
    form = {"full_name": "Eve \N{SNOWMAN}", "email": "eve", "password": "wq8!x"}
    refused = await browser.post("/signup", data=form)
    assert refused.status_code == 422
    assert described(refused.text, "email") == "Enter an email address such as ann@example.com."
    assert described(refused.text, "password") == "At least 10 characters."
    assert 'value="eve"' in refused.text
    assert 'value="Eve \N{SNOWMAN}"' in refused.text
    assert "wq8!x" not in refused.text
    assert focused_fields(refused.text) == ["email"]
    taken = await browser.post("/signup", data={"email": ann.email.upper(), "password": PASSWORD})
    assert taken.status_code == 422
    assert "already exists" in described(taken.text, "email")
    assert PASSWORD not in taken.text
    empty = await browser.post("/signup", data={})
    assert described(empty.text, "password") == "Please fill this in."


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data"])
async def test_body_that_is_no_form_is_refused(
    browser: httpx.AsyncClient, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    response = await browser.post("/signup", content=b"email=a", headers=headers)
    assert response.status_code in (400, 422)


async def test_nul_character_is_refused(browser: httpx.AsyncClient) -> None:
    form = ACCOUNT | {"full_name": "a\x00b"}
    refused = await browser.post("/signup", data=form)
    assert (refused.status_code, described(refused.text, "full_name")[:12]) == (422, "Remove the c")
    assert (await browser.post("/login", data=form | {"email": "\x00"})).status_code == 422


async def test_sign_up_form_is_hidden_when_closed(database_url: str) -> None:
    settings = make_settings(database_url, signup_enabled=False)
    async with running(settings) as app, browser_of(app) as browser:
        for response in (await browser.get("/signup"), await browser.post("/signup", data=ACCOUNT)):
            assert (response.status_code, "Sign-up is closed." in response.text) == (422, True)
            assert '<form class="card"' not in response.text


async def test_forgotten_password_is_reset_by_mail(
    browser: httpx.AsyncClient, outbox: Outbox, ann: Person
) -> None:
    await sign_in(browser, ann)
    assert (await browser.get("/forgot-password")).status_code == 200
    wrong = await browser.post("/forgot-password", data={"email": "ann"})
    assert (wrong.status_code, bool(described(wrong.text, "email"))) == (422, True)
    known = await browser.post("/forgot-password", data={"email": ann.email})
    unknown = await browser.post("/forgot-password", data={"email": "nobody@example.com"})
    assert (known.status_code, known.headers["Location"]) == (303, unknown.headers["Location"])
    assert "an email is on its way" in (await browser.get(known.headers["Location"])).text
    token = await outbox.token(ann.email, "reset")
    for _ in range(2):
        link = await browser.get("/reset-password", params={"token": token})
        assert link.headers["Referrer-Policy"] == "no-referrer"  # its address is a secret
        assert link.headers["Cache-Control"] == "no-store"
    form = {"token": token, "password": "short"}
    refused = await browser.post("/reset-password", data=form)
    assert (refused.status_code, token in refused.text) == (422, True)
    assert described(refused.text, "password") == "At least 10 characters."
    done = await browser.post("/reset-password", data=form | {"password": NEW_PASSWORD})
    assert (done.status_code, done.headers["Location"]) == (303, "/login")
    assert (await ann.client.get("/api/v1/users/me")).status_code == 401
    assert (await browser.get("/account")).headers["Location"] == "/login?next=/account"
    used = await browser.post("/reset-password", data=form | {"password": NEW_PASSWORD})
    assert (used.status_code, "/forgot-password" in used.text) == (422, True)


async def test_confirmation_mail_is_sent_again(
    browser: httpx.AsyncClient, outbox: Outbox, ann: Person
) -> None:
    assert "Send the email again" in (await browser.get("/verify-email")).text
    sent = await browser.post("/verify-email/resend", data={"email": ann.email})
    assert "an email is on its way" in (await browser.get(sent.headers["Location"])).text
    token = await outbox.token(ann.email, "verify")
    await sign_in(browser, ann)
    confirmed = await browser.post("/verify-email", data={"token": token})
    assert confirmed.headers["Location"] == "/account"
    refused = await browser.post("/verify-email/resend", data={"email": "ann"})
    assert (refused.status_code, bool(described(refused.text, "email"))) == (422, True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/verify-email", "token"), ("/reset-password", "token"), ("/login", "next"),
        ("/signup", "next"),
    ],
)  # fmt: skip
async def test_query_parameters_are_escaped(
    browser: httpx.AsyncClient, path: str, name: str
) -> None:
    page = await browser.get(path, params={name: SCRIPT})
    assert (page.status_code, "<script>" in page.text) == (200, False)
    page = await browser.post(path, data={name: SCRIPT, "email": SCRIPT, "full_name": SCRIPT})
    assert (page.status_code, "<script>" in page.text) == (422, False)


@pytest.mark.parametrize("password", ["ann@example.com", "ANN@example.com1", f"{NAME} 1"])
async def test_name_as_a_password_is_refused_wherever_it_is_set(
    browser: httpx.AsyncClient, ann: Person, outbox: Outbox, password: str
) -> None:
    await browser.post("/forgot-password", data={"email": ann.email})
    form = {"token": await outbox.token(ann.email, "reset"), "password": password}
    refused = await browser.post("/reset-password", data=form)
    assert "name of this site" in described(refused.text, "password")
    assert form["token"] in refused.text  # it can be used with another password
    await sign_in(browser, ann)
    form = {"current_password": PASSWORD, "new_password": password}
    refused = await browser.post("/account/password", data=form)
    assert "name of this site" in described(refused.text, "new_password")
