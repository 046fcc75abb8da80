"""What was typed into a form is not lost, and is not saved in another account."""

import httpx
import pyotp
import pytest
from fastapi import FastAPI

from tests.accounts.conftest import verify_address
from tests.conftest import PASSWORD, Person, sign_in
from tests.features.items.steps import make_item
from tests.forms import form_of
from tests.pages import action_of

ITEMS = "/api/v1/items"
TYPED = {"name": "Lamp </textarea>", "price": "19.99", "description": "Brass\nand glass"}


async def names(person: Person) -> list[str]:
    return [each["name"] for each in (await person.client.get(ITEMS)).json()["results"]]


async def sign_in_again(
    browser: httpx.AsyncClient, asked: httpx.Response, person: Person
) -> httpx.Response:
    """Fill in the sign-in that an ended session has led to, and follow it as a browser does."""
    assert asked.status_code == 401
    assert "Your session has ended." in asked.text
    form = form_of(asked) | {"email": person.email, "password": PASSWORD}
    wrong = await browser.post("/login", data=form | {"password": "wrong"})
    assert form_of(wrong)["kept_form"] == form["kept_form"]
    signed_in = await browser.post("/login", data=form)
    assert signed_in.status_code == 307
    return await browser.post(signed_in.headers["Location"], data=form)


def multipart(form: dict[str, str]) -> dict[str, tuple[None, str]]:
    return {name: (None, value) for name, value in form.items()}


async def set_up_second_factor(person: Person) -> list[str]:
    """Return the recovery codes."""
    path = "/api/v1/users/me/second-factor"
    begun = await person.client.post(f"{path}/set-up", json={"current_password": PASSWORD})
    body = {"token": begun.json()["token"], "code": pyotp.TOTP(begun.json()["secret"]).now()}
    enabled = await person.client.post(path, json=body)
    codes: list[str] = enabled.json()["recovery_codes"]
    return codes


async def sign_in_with(browser: httpx.AsyncClient, person: Person, code: str) -> None:
    form = {"email": person.email, "password": PASSWORD}
    code_page = await browser.post("/login", data=form)
    signed_in = await browser.post(code_page.headers["Location"], data={"code": code})
    assert signed_in.status_code == 303


@pytest.mark.parametrize("is_new", [True, False])
async def test_form_is_shown_again_after_its_session_has_ended(
    browser: httpx.AsyncClient, ann: Person, is_new: bool
) -> None:
    await sign_in(browser, ann)
    path = "/items/new" if is_new else f"/items/{(await make_item(ann, name='Old'))['id']}/edit"
    form = form_of(await browser.get(path)) | TYPED
    await browser.post("/logout")
    shown = await sign_in_again(browser, await browser.post(path, data=form), ann)
    assert "Nothing is saved yet" in shown.text
    assert PASSWORD not in shown.text
    again = form_of(shown)
    assert again == form
    assert await names(ann) == ([] if is_new else ["Old"])
    assert (await browser.post(path, data=again)).status_code == 303
    assert await names(ann) == [TYPED["name"]]


async def test_form_that_came_back_is_sent_to_its_own_address(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    path = f"/items/{(await make_item(ann, name='Old'))['id']}/edit?q=old"
    form = form_of(await browser.get(path)) | TYPED
    await browser.post("/logout")
    shown = await sign_in_again(browser, await browser.post(path, data=form), ann)
    assert action_of(shown) == path
    saved = await browser.post(action_of(shown), data=form_of(shown))
    assert saved.headers["Location"] == "/items?q=old"
    assert await names(ann) == [TYPED["name"]]


async def test_long_form_survives_a_sign_in_with_a_second_factor(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await verify_address(app, ann)
    recovery_code = await set_up_second_factor(ann)
    await sign_in_with(browser, ann, recovery_code[0])
    form = form_of(await browser.get("/items/new")) | {"name": "긴 글", "description": 9000 * "한"}
    await browser.post("/logout")
    asked = await browser.post("/items/new", files=multipart(form))
    assert 'enctype="multipart/form-data"' in asked.text
    sign_in_form = form_of(asked) | {"email": ann.email, "password": PASSWORD}
    code_page = await browser.post("/login", files=multipart(sign_in_form))
    code_form = form_of(code_page) | {"code": "wrong"}
    code_page = await browser.post("/login/code", files=multipart(code_form))
    code_form = form_of(code_page) | {"code": recovery_code[1]}
    signed_in = await browser.post("/login/code", files=multipart(code_form))
    assert signed_in.status_code == 307
    shown = await browser.post(signed_in.headers["Location"], files=multipart(code_form))
    assert form_of(shown) == form


async def test_form_of_another_account_is_not_saved_before_the_user_has_seen_it(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await sign_in(browser, ann)
    form = form_of(await browser.get("/items/new")) | TYPED
    await browser.post("/logout")
    shown = await sign_in_again(browser, await browser.post("/items/new", data=form), bob)
    assert "This form was opened in another account." in shown.text
    # And in another tab, in which Ann's form is still open.
    shown = await browser.post("/items/new", data=form)
    assert (shown.status_code, await names(ann), await names(bob)) == (422, [], [])
    assert (await browser.post("/items/new", data=form_of(shown))).status_code == 303
    assert (await names(ann), await names(bob)) == ([], [TYPED["name"]])


async def test_form_of_a_deleted_item_can_be_saved_as_a_new_one(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    item = await make_item(ann)
    path = f"/items/{item['id']}/edit"
    form = form_of(await browser.get(path)) | TYPED
    await ann.client.delete(f"{ITEMS}/{item['id']}")
    gone = await browser.post(path, data=form)
    assert gone.status_code == 404
    assert "Save yours as a new one?" in gone.text
    assert (await browser.post("/items/new", data=form_of(gone))).status_code == 303
    assert await names(ann) == [TYPED["name"]]


@pytest.mark.parametrize("kept", ["", "x", "[]", '{"name": 1}', '{"name": "Lamp", "price": "1"}'])
async def test_kept_form_that_was_tampered_with_saves_nothing(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, kept: str
) -> None:
    await sign_in(browser, ann)
    page = await browser.post("/items/new?resume=true", data={"kept_form": kept})
    assert (page.status_code, await names(ann)) == (422, [])
