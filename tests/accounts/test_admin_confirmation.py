"""The password is asked for again before sensitive account actions."""

import asyncio
import re
from html import unescape
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.session_cache import SessionCache
from tests.accounts.conftest import Authenticator, described, set_age, verify_address
from tests.accounts.pages import FACTOR_PAGE, SET_UP_PAGE, read_factor_set_up
from tests.accounts.session_cache import until_cache_is_held
from tests.accounts.steps import event_facts
from tests.admin import delete_records
from tests.conftest import (
    PASSWORD,
    Person,
    browser_of,
    make_person,
    make_settings,
    running,
    sign_in,
)
from tests.forms import form_of
from tests.isolation import DEADLINE_SECONDS

LIST = "/admin/user/list"
CONFIRM = "/confirm"


def hidden_fields(page: httpx.Response) -> dict[str, str]:
    found = re.findall('<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {unescape(name): unescape(value) for name, value in found}


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 303), (None, 303)])
async def test_admin_takes_a_recent_password(
    app: FastAPI, admin: httpx.AsyncClient, minutes: float | None, status: int
) -> None:
    assert (await admin.get(LIST)).status_code == 200
    await set_age(app, minutes)
    assert (await admin.get(LIST)).status_code == status
    assert (await admin.get("/admin")).status_code == 303
    assert (await admin.get("/account")).status_code == 200


async def test_confirmation_leads_back_to_the_page(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    await set_age(app, 16)
    page = f"{LIST}?search=a&page=1"
    asked = await admin.get(page)
    assert asked.headers["Location"] == f"{CONFIRM}?{urlencode({'next': page}, safe='/')}"
    form = hidden_fields(await admin.get(asked.headers["Location"]))
    refused = await admin.post(CONFIRM, data=form | {"current_password": "wrong"})
    assert refused.status_code == 422
    assert described(refused.text, "current_password") == "The current password is wrong."
    assert hidden_fields(refused) == form
    assert (await admin.get(page)).status_code == 303
    done = await admin.post(CONFIRM, data=form | {"current_password": PASSWORD})
    assert (done.status_code, done.headers["Location"]) == (303, page)
    assert (await admin.get(page)).status_code == 200
    assert (await event_facts(app))[-2:] == [
        ("password_check", "failure", root.id, root.id),
        ("password_check", "success", root.id, root.id),
    ]


async def test_interrupted_form_is_sent_again_after_the_confirmation(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    url = f"/admin/user/edit/{ann.id}"
    opened = form_of(await admin.get(url))
    await set_age(app, 16)
    sent = opened | {
        "full_name": '"Ann" <b>',
        "is_active": "true",
        "password": "a better horse battery",
    }
    asked = await admin.post(url, data=sent)
    assert (asked.status_code, asked.headers["Cache-Control"]) == (403, "no-store")
    assert "<b>" not in asked.text
    assert sent["password"] not in asked.text
    form = hidden_fields(asked)
    refused = await admin.post(CONFIRM, data=form | {"current_password": "wrong"})
    assert hidden_fields(refused) == form
    form["current_password"] = PASSWORD
    done = await admin.post(CONFIRM, data=form)
    assert (done.status_code, done.headers["Location"]) == (307, url)
    again = await admin.post(done.headers["Location"], data=form)  # as a browser does
    assert again.status_code == 303
    me = (await ann.client.get("/api/v1/users/me")).json()
    assert me["full_name"] == sent["full_name"]


async def test_interrupted_form_keeps_its_time_zone_and_its_owner(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    url = f"/admin/user/edit/{ann.id}"
    sent = form_of(await admin.get(url)) | {"is_active": "true", "full_name": "Eve"}
    sent |= {"form_owner": str(ann.id), "form_time_zone": "Asia/Seoul"}
    del sent["password"]
    await set_age(app, 16)
    form = hidden_fields(await admin.post(url, data=sent))
    assert form.items() >= sent.items()
    form = hidden_fields(await admin.post(CONFIRM, data=form | {"current_password": "wrong"}))
    assert form.items() >= sent.items()
    done = await admin.post(CONFIRM, data=form | {"current_password": PASSWORD})
    assert done.status_code == 307
    shown = await admin.post(url, data=form)
    assert (shown.status_code, form_of(shown)["form_owner"]) == (422, str(root.id))
    assert (await ann.client.get("/api/v1/users/me")).json()["full_name"] is None


async def test_write_without_the_confirmation_is_refused(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    await set_age(app, 16)
    for call in (
        delete_records(admin, "user", ann.id),
        admin.post(f"/admin/user/edit/{ann.id}", data={"full_name": "Eve"}),
    ):
        refused = await call
        assert (refused.status_code, "password" in refused.text) == (403, True)
    headers = {"Accept": "application/json"}
    problem = await delete_records(admin, "user", ann.id, headers=headers)
    assert problem.json()["type"] == "/problems/password-required"
    problem = await admin.post(f"/admin/user/edit/{ann.id}", data={}, headers=headers)
    assert problem.json()["type"] == "/problems/password-required"
    me = (await ann.client.get("/api/v1/users/me")).json()
    assert (me["full_name"], me["is_active"]) == (None, True)


async def test_confirmation_is_of_one_session(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    async with browser_of(app) as other:
        await sign_in(other, root)
        await set_age(app, 16)
        done = await admin.post(CONFIRM, data={"current_password": PASSWORD})
        assert (done.status_code, done.headers["Location"]) == (303, "/")
        assert (await admin.get(LIST)).status_code == 200
        assert (await other.get(LIST)).status_code == 303


async def test_confirmation_replaces_the_cookie(
    app: FastAPI, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache: SessionCache = app.state.resources.session_cache
    async with browser_of(app) as thief:
        thief.cookies.update(admin.cookies)
        assert (await thief.get("/account")).status_code == 200
        if not app.state.resources.database.is_sqlite:
            await until_cache_is_held(app)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not cache._entries:
                    await thief.get("/account")
        # The notification may come late: this process forgets the old cookie before it answers.
        monkeypatch.setattr(cache, "forget_session", lambda _: None)
        await admin.post(CONFIRM, data={"current_password": PASSWORD})
        assert (await thief.get("/account")).status_code == 303
    assert (await admin.get(LIST)).status_code == 200
    assert "session_ended" not in [kind for kind, *_ in await event_facts(app)]


async def test_confirmation_does_not_lead_to_another_site(admin: httpx.AsyncClient) -> None:
    for repeats in ("", "true"):
        form = {"confirm_next": "//evil.example", "confirm_repeats": repeats}
        done = await admin.post(CONFIRM, data=form | {"current_password": PASSWORD})
        assert done.headers["Location"] == "/"


async def test_confirmation_is_for_members_and_pages_of_this_site(
    app: FastAPI, admin: httpx.AsyncClient
) -> None:
    async with browser_of(app) as stranger:
        assert (await stranger.get(CONFIRM)).headers["Location"] == "/login?next=/confirm"
        assert (await stranger.post(CONFIRM, data={})).headers["Location"] == "/login"
    headers = {"Sec-Fetch-Site": "cross-site"}
    forged = await admin.post(CONFIRM, data={"current_password": PASSWORD}, headers=headers)
    assert forged.status_code == 403


@pytest.mark.parametrize("required", [None, "superusers"])
async def test_required_second_factor_is_set_up_before_the_admin_is_used(
    database_url: str, password_hash: str, authenticator: Authenticator, required: str | None
) -> None:
    settings = make_settings(database_url, require_second_factor=required)
    async with running(settings) as app, browser_of(app) as browser:
        root = await make_person(app, password_hash, "root", is_superuser=True)
        await sign_in(browser, root)
        assert "/admin" in (await browser.get("/account")).text
        response = await browser.get("/admin/user/list")
        if required is None:
            assert response.status_code == 200
        else:
            assert response.headers["Location"] == FACTOR_PAGE
            assert "Set it up" in unescape((await browser.get(response.headers["Location"])).text)
            refused = await browser.post(f"/admin/user/edit/{root.id}", data={"full_name": "x"})
            assert (refused.status_code, "second factor" in refused.text) == (403, True)
            async with browser_of(app) as other:
                await sign_in(other, root)
                await verify_address(app, root)
                form = form_of(await read_factor_set_up(browser, authenticator))
                await browser.post(SET_UP_PAGE, data=form | {"code": authenticator.code()})
                assert (await browser.get("/admin/user/list")).status_code == 200
                # The password alone had opened this session.
                refused = await other.get("/admin/user/list")
                assert (refused.status_code, "/login" in refused.headers["Location"]) == (303, True)
        await root.client.aclose()
