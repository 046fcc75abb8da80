import re

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.service.device_names import device_name
from tests.accounts.conftest import Outbox, described
from tests.accounts.pages import is_signed_in
from tests.accounts.steps import NEW_PASSWORD
from tests.conftest import PASSWORD, Person, browser_of, sign_in
from tests.pages import SCRIPT, focused_fields

ME = "/api/v1/users/me"


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def test_profile_form_saves_the_name(browser: httpx.AsyncClient, ann: Person) -> None:
    saved = await browser.post("/account", data={"full_name": " Ann \N{SNOWMAN} "})
    assert (saved.status_code, saved.headers["Location"]) == (303, "/account")
    page = await browser.get(saved.headers["Location"])
    assert "Profile saved." in page.text
    assert 'value="Ann \N{SNOWMAN}"' in page.text
    assert "<strong><bdi>Ann \N{SNOWMAN}</bdi></strong>" in page.text  # in the menu
    assert 'aria-hidden="true">A\N{SNOWMAN}</b>' in page.text
    refused = await browser.post("/account", data={"full_name": "x" * 256})
    assert refused.status_code == 422
    assert described(refused.text, "full_name") == "At most 255 characters."
    await browser.post("/account", data={"full_name": ""})
    assert (await ann.client.get(ME)).json()["full_name"] is None


async def test_name_and_device_are_escaped(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    async with browser_of(app, **{"User-Agent": SCRIPT}) as other:
        await sign_in(other, ann)
    await browser.post("/account", data={"full_name": SCRIPT})
    page = (await browser.get("/account")).text
    assert page.count("&lt;script&gt;") >= 3
    assert "<script>" not in page


async def test_email_form_takes_the_password_and_a_confirmation(
    browser: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    form = {"email": "new@example.com", "current_password": "wrong"}
    refused = await browser.post("/account/email", data=form)
    assert refused.status_code == 422
    assert described(refused.text, "current_password") == "The current password is wrong."
    assert 'value="new@example.com"' in refused.text
    assert focused_fields(refused.text) == ["current_password"]
    empty = await browser.post("/account/email", data={"email": "", "current_password": PASSWORD})
    assert (empty.status_code, bool(described(empty.text, "email"))) == (422, True)
    done = await browser.post("/account/email", data=form | {"current_password": PASSWORD})
    assert done.headers["Location"] == "/account"
    assert "new@example.com" not in (await browser.get("/account")).text
    token = await outbox.token("new@example.com", "verify")
    await browser.post("/verify-email", data={"token": token})
    assert "new@example.com" in (await browser.get("/account")).text


async def test_password_form_signs_out_other_devices(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    async with browser_of(app) as other:
        await sign_in(other, ann)
        form = {"current_password": PASSWORD, "new_password": "short"}
        refused = await browser.post("/account/password", data=form)
        assert described(refused.text, "new_password") == "At least 10 characters."
        form = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        done = await browser.post("/account/password", data=form)
        assert done.headers["Location"] == "/account"
        assert await is_signed_in(browser)
        assert not await is_signed_in(other)


async def test_device_can_be_signed_out(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537 Chrome/140.0 Safari/537.36"
    async with browser_of(app, **{"User-Agent": chrome}) as other:
        await sign_in(other, ann)
        page = await other.get("/account")
        assert "Chrome on Linux" in page.text
        assert page.text.index("This device") < page.text.index("Unknown address")
        assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">', page.text)
        ends = re.findall('action="(/account/sessions/[^"]+)"', page.text)
        assert len(ends) == 3
        ended = await other.post(ends[1])
        assert ended.headers["Location"] == "/account"
        assert (await other.post(ends[1])).status_code == 303  # it has ended already
        assert await is_signed_in(other)
        own = await other.post(ends[0])
        assert own.headers["Location"] == "/login"
        assert "auth_session" not in other.cookies
        assert not await is_signed_in(other)


async def test_other_users_device_stays_signed_in(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    async with browser_of(app) as other:
        await sign_in(other, bob)
        for end in re.findall(
            'action="(/account/sessions/[^"]+)"', (await other.get("/account")).text
        ):
            await browser.post(end)
        assert await is_signed_in(other)
    assert (await browser.post("/account/sessions/7/end")).status_code == 422


async def test_deletion_form_takes_the_password(browser: httpx.AsyncClient, ann: Person) -> None:
    asked = await browser.get("/account/delete")
    assert "Delete my account" in asked.text
    for form, words in (({}, "Please fill this in."), ({"current_password": "x"}, "is wrong.")):
        refused = await browser.post("/account/delete", data=form)
        assert words in described(refused.text, "current_password")
    assert await is_signed_in(browser)
    done = await browser.post("/account/delete", data={"current_password": PASSWORD})
    assert done.headers["Location"] == "/login"
    assert not await is_signed_in(browser)
    assert (await ann.client.get(ME)).status_code == 401


async def test_last_superuser_cannot_be_deleted(app: FastAPI, root: Person) -> None:
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        form = {"current_password": PASSWORD}
        refused = await browser.post("/account/delete", data=form)
        assert (refused.status_code, "Create another one first" in refused.text) == (422, True)


@pytest.mark.parametrize(
    "path", ["", "/email", "/password", "/delete", "/sessions/" + "0" * 32 + "/end"]
)
async def test_stranger_is_redirected_to_sign_in(app: FastAPI, path: str) -> None:
    async with browser_of(app) as stranger:
        response = await stranger.post(f"/account{path}", data={})
        assert (response.status_code, response.headers["Location"]) == (303, "/login")


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/5 Chrome/1 Safari/5 Edg/1", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X) AppleWebKit/6 Safari/6", "Safari on macOS"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) CriOS/1 Safari/6",
            "Chrome on iPhone",
        ),
        ("Mozilla/5.0 (Android 15; Mobile) Gecko/1 Firefox/1", "Firefox on Android"),
        ("curl/8.0", "curl/8.0"),
        ("", "Unknown device"),
        (None, "Unknown device"),
    ],
)
def test_device_name_is_derived_from_the_user_agent(user_agent: str | None, name: str) -> None:
    assert device_name(user_agent) == name
