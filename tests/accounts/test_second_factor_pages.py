"""The second factor in the browser, without scripts."""

from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI

from tests.accounts.conftest import Authenticator, described, set_age, verify_address
from tests.accounts.pages import FACTOR_PAGE, SET_UP_PAGE, read_factor_set_up
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person, sign_in
from tests.forms import form_of

CODE_PAGE = "/login/code"


@pytest.fixture
async def ann(app: FastAPI, ann: Person) -> Person:
    """Return a user with a confirmed address."""
    await verify_address(app, ann)
    return ann


async def enter_password(
    browser: httpx.AsyncClient, person: Person, next_: str = ""
) -> httpx.Response:
    form = {"email": person.email, "password": PASSWORD, "next": next_}
    return await browser.post("/login", data=form)


async def test_sign_in_asks_for_the_code_on_a_second_page(
    browser: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    asked = await enter_password(browser, ann, "/account?notice=saved")
    assert asked.status_code == 303
    assert (await browser.get("/account")).status_code == 303  # Nobody is signed in yet.
    page = await browser.get(asked.headers["Location"])
    form = form_of(page)
    refused = await browser.post(CODE_PAGE, data=form | {"code": authenticator.wrong_code()})
    assert (refused.status_code, form_of(refused)) == (422, form)
    assert "wrong" in described(refused.text, "code")
    empty = await browser.post(CODE_PAGE, data=form)
    assert described(empty.text, "code") == "Please fill this in."
    done = await browser.post(CODE_PAGE, data=form | {"code": authenticator.next_code()})
    assert (done.status_code, done.headers["Location"]) == (303, "/account?notice=saved")
    assert (await browser.get("/account")).status_code == 200
    assert (await browser.get(CODE_PAGE)).headers["Location"] == "/login"


async def test_code_without_a_password_before_is_refused(
    browser: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    assert (await browser.get(CODE_PAGE)).headers["Location"] == "/login"
    refused = await browser.post(CODE_PAGE, data={"code": authenticator.next_code()})
    assert "Sign in again" in described(refused.text, "code")


async def test_second_factor_is_set_up_and_switched_off_in_pages(
    browser: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await sign_in(browser, ann)
    assert SET_UP_PAGE in (await browser.get(FACTOR_PAGE)).text
    page = await read_factor_set_up(browser, authenticator)
    svg = page.text[page.text.index("<svg") : page.text.index("</svg>") + 6]
    assert {each.tag for each in ElementTree.fromstring(svg)} == {"path"}
    assert "style=" not in svg
    wrong = form_of(page) | {"code": authenticator.wrong_code()}
    refused = await browser.post(SET_UP_PAGE, data=wrong)
    assert (refused.status_code, form_of(refused)) == (422, form_of(page))
    done = await browser.post(SET_UP_PAGE, data=form_of(refused) | {"code": authenticator.code()})
    assert done.status_code == 200
    recovery_code = done.text.split("<code>")[1].split("</code>")[0]
    assert (await browser.get(SET_UP_PAGE)).headers["Location"] == FACTOR_PAGE
    again = await browser.post(SET_UP_PAGE, data=wrong)
    assert (again.headers["Location"], authenticator.secret in again.text) == (FACTOR_PAGE, False)
    expired = await browser.post(SET_UP_PAGE, data={"token": "x", "code": "000000"})
    assert expired.headers["Location"] == SET_UP_PAGE

    form = {"current_password": PASSWORD, "code": authenticator.wrong_code()}
    refused = await browser.post(f"{FACTOR_PAGE}/disable", data=form)
    assert "wrong" in described(refused.text, "code")
    renewed = await browser.post(
        f"{FACTOR_PAGE}/recovery-codes", data=form | {"code": recovery_code}
    )
    assert renewed.text.count("<code>") == 10
    wrong = {"current_password": "wrong", "code": authenticator.next_code()}
    refused = await browser.post(f"{FACTOR_PAGE}/disable", data=wrong)
    assert described(refused.text, "current_password") == "The current password is wrong."
    done = await browser.post(f"{FACTOR_PAGE}/disable", data=form | {"code": wrong["code"]})
    assert done.headers["Location"] == FACTOR_PAGE
    assert SET_UP_PAGE in (await browser.get(FACTOR_PAGE)).text


async def test_set_up_takes_a_confirmed_address(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    await verify_address(app, ann, is_verified=False)
    asked = await browser.get(SET_UP_PAGE)
    assert asked.headers["Location"] == FACTOR_PAGE
    assert "Confirm your email address first." in (await browser.get(FACTOR_PAGE)).text


async def test_set_up_takes_a_recent_password(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    form = form_of(await browser.get(SET_UP_PAGE)) | {"code": "000000"}
    await set_age(app, 16)
    assert (await browser.get(SET_UP_PAGE)).headers["Location"] == f"/confirm?next={SET_UP_PAGE}"
    asked = await browser.post(SET_UP_PAGE, data=form)
    assert asked.status_code == 403
    sent_again = form_of(asked)  # after the confirmation
    assert (sent_again["token"], "code" in sent_again) == (form["token"], False)


async def test_code_confirms_in_place_of_the_password(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, authenticator: Authenticator
) -> None:
    await verify_address(app, root)
    assert "confirm_code" not in (await admin.get("/confirm")).text
    assert (await admin.post("/confirm", data={"confirm_code": "000000"})).status_code == 422
    form = form_of(await read_factor_set_up(admin, authenticator))
    await admin.post(SET_UP_PAGE, data=form | {"code": authenticator.code()})
    await set_age(app, 16)
    form = form_of(await admin.get("/confirm?next=/account"))
    wrong = await admin.post("/confirm", data=form | {"confirm_code": authenticator.wrong_code()})
    assert "wrong" in described(wrong.text, "confirm_code")
    done = await admin.post("/confirm", data=form | {"confirm_code": authenticator.next_code()})
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert (await admin.get(SET_UP_PAGE)).headers["Location"] == FACTOR_PAGE  # It is confirmed.
    assert (await event_facts(app))[-1] == ("second_factor_check", "success", root.id, root.id)
