"""The pages of passkeys, as the script sends their forms. tests/e2e has the script itself."""

import json
import re
from typing import Any

import httpx
from fastapi import FastAPI

from app.accounts.models import NO_PASSWORD, User
from tests.accounts.conftest import Authenticator, set_age
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person, browser_of, sign_in
from tests.features.passkeys.conftest import add, stored
from tests.features.passkeys.device import Device
from tests.forms import FormParser, form_of

PAGE = "/account/passkeys"
SCRIPT = {"Accept": "application/json"}


async def fill_in(
    browser: httpx.AsyncClient, path: str, device: Device, *, is_new: bool = False, **lies: Any
) -> dict[str, str]:
    """Return the fields that the script fills in, with the options of a path."""
    response = await browser.get(path, headers=SCRIPT)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    begun = response.json()
    act = device.make if is_new else device.answer
    return {"token": begun["token"], "credential": json.dumps(act(begun["options"], **lies))}


async def make(browser: httpx.AsyncClient, device: Device, name: str = "Phone") -> httpx.Response:
    form = form_of(await browser.get(f"{PAGE}/new"))
    form |= await fill_in(browser, f"{PAGE}/new/options", device, is_new=True)
    return await browser.post(f"{PAGE}/new", data=form | {"name": name})


async def test_page_adds_renames_and_removes_passkeys(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    assert f'href="{PAGE}"' in (await browser.get("/account")).text
    first = await make(browser, Device())
    assert first.text.count("<code>") == 10
    second = await make(browser, Device(), "Key")
    assert second.headers["Location"] == PAGE
    assert "“Key” added." in (await browser.get(PAGE)).text
    one, other = [str(passkey.id) for passkey in await stored(app)]
    refused = await browser.post(f"{PAGE}/{one}/rename", data={"name": ""})
    assert refused.status_code == 422
    assert (await browser.post(f"{PAGE}/{one}/rename", data={"name": "Watch"})).status_code == 303
    assert (await browser.post(f"{PAGE}/{other}/remove")).status_code == 303
    assert [passkey.name for passkey in await stored(app)] == ["Watch"]
    assert (await browser.post(f"{PAGE}/{other}/remove")).status_code == 303  # gone already


async def test_adding_and_removing_take_a_recent_password(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    await make(browser, Device())
    (passkey,) = await stored(app)
    form = await fill_in(browser, f"{PAGE}/new/options", Device(), is_new=True)
    await set_age(app, 16)
    assert (await browser.get(f"{PAGE}/new")).headers[
        "Location"
    ] == f"/confirm?next={PAGE}/new&factor=true"
    assert (await browser.get(f"{PAGE}/new/options", headers=SCRIPT)).status_code == 403
    assert (await browser.post(f"{PAGE}/new", data=form | {"name": "Key"})).status_code == 403
    assert (await browser.post(f"{PAGE}/{passkey.id}/remove")).status_code == 403
    assert len(await stored(app)) == 1


async def test_adding_and_removing_beside_a_factor_take_more_than_the_password(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    """A thief of the session and the password would get around the factor by a new one."""
    await sign_in(browser, ann)
    device = Device()
    await make(browser, device)
    (passkey,) = await stored(app)
    form = await fill_in(browser, f"{PAGE}/new/options", Device(), is_new=True)
    await set_age(app, 16)
    await browser.post("/confirm", data={"current_password": PASSWORD})
    for path in (f"{PAGE}/new", "/account/second-factor/set-up"):
        asked = await browser.get(path)
        assert asked.headers["Location"] == f"/confirm?next={path}&factor=true"
        page = await browser.get(asked.headers["Location"])
        assert 'name="current_password"' not in page.text
        assert 'name="confirm_code"' in page.text
        assert "Confirm with a passkey" in page.text
    options = await browser.get(f"{PAGE}/new/options", headers=SCRIPT)
    assert (options.status_code, options.json()["type"]) == (403, "/problems/factor-required")
    for path in (f"{PAGE}/new", f"{PAGE}/{passkey.id}/remove", f"{PAGE}/recovery-codes"):
        asked = await browser.post(path, data=form | {"name": "Key"})
        assert asked.status_code == 403, path
        assert 'name="current_password"' not in asked.text
        wrong = await browser.post("/confirm", data=form_of(asked) | {"confirm_code": "000000"})
        assert wrong.status_code == 422
        assert 'name="current_password"' not in wrong.text
    assert [each.id for each in await stored(app)] == [passkey.id]
    answer = await fill_in(browser, "/confirm/passkey/options", device)
    answer = {f"confirm_{name}": value for name, value in answer.items()}
    assert (await browser.post("/confirm/passkey", data=answer)).status_code == 303
    assert (await make(browser, Device(), "Key")).status_code == 303
    assert (await browser.post(f"{PAGE}/{passkey.id}/remove")).status_code == 303
    assert [each.name for each in await stored(app)] == ["Key"]


async def test_recovery_code_stands_for_the_factor(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    created = await make(browser, Device())
    code = re.findall("<code>(.*?)</code>", created.text)[0]
    await set_age(app, 16)
    await browser.post("/confirm", data={"current_password": PASSWORD})
    asked = await browser.get(f"{PAGE}/new")
    form = form_of_confirmation(await browser.get(asked.headers["Location"]))
    done = await browser.post("/confirm", data=form | {"confirm_code": code})
    assert (done.status_code, done.headers["Location"]) == (303, f"{PAGE}/new")
    assert (await make(browser, Device(), "Key")).status_code == 303


def form_of_confirmation(page: httpx.Response) -> dict[str, str]:
    """Return the fields of the form with the code, which is before that of the passkey."""
    parser = FormParser()
    parser.feed(page.text)
    (form,) = (form for form in parser.forms if "confirm_code" in form)
    return form


async def test_passkey_signs_in_on_the_page(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    page = await browser.get("/login?next=/account")
    assert "Sign in with a passkey" in page.text
    form = form_of(page)
    assert {"next", "token", "credential"} <= set(form)
    lie = await fill_in(browser, "/login/passkey/options", device, origin="https://evil.example")
    refused = await browser.post("/login/passkey", data=form | lie)
    assert refused.status_code == 422
    assert "This passkey is not one of yours here" in refused.text
    answer = await fill_in(browser, "/login/passkey/options", device)
    done = await browser.post("/login/passkey", data=form | answer)
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert (await browser.get("/account")).status_code == 200
    async with browser_of(app) as thief:
        assert (await thief.post("/login/passkey", data=form | answer)).status_code == 422


async def test_passkey_is_the_second_factor_on_the_page(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    form = {"email": ann.email, "password": PASSWORD, "next": "/account"}
    asked = await browser.post("/login", data=form)
    page = await browser.get(asked.headers["Location"])
    assert "Use a passkey" in page.text
    form = form_of(page) | await fill_in(browser, "/login/code/passkey/options", device)
    done = await browser.post("/login/code/passkey", data=form)
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert (await browser.get("/account")).status_code == 200
    assert "sign_in_challenge" not in browser.cookies


async def test_second_factor_on_the_page_takes_the_password_before(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    options = await browser.get("/login/code/passkey/options", headers=SCRIPT)
    assert options.status_code == 400
    form = await fill_in(browser, "/login/passkey/options", device)
    assert (await browser.post("/login/code/passkey", data=form)).status_code == 422
    assert (await browser.get("/account")).status_code == 303


async def test_passkey_confirms_in_place_of_the_password(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    assert "Confirm with a passkey" not in (await browser.get("/confirm")).text
    device = Device()
    await make(browser, device)
    await set_age(app, 16)
    page = await browser.get("/confirm?next=/account")
    assert "Confirm with a passkey" in page.text
    answer = await fill_in(browser, "/confirm/passkey/options", device)
    form = form_of(page) | {f"confirm_{name}": value for name, value in answer.items()}
    done = await browser.post("/confirm/passkey", data=form)
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert (await browser.get(f"{PAGE}/new")).status_code == 200
    assert (await event_facts(app))[-1] == ("passkey_check", "success", ann.id, ann.id)


async def test_interrupted_form_is_sent_again_after_a_passkey(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    device = Device()
    await make(browser, device)
    (passkey,) = await stored(app)
    await set_age(app, 16)
    path = f"{PAGE}/{passkey.id}/remove"
    asked = await browser.post(path, data={"kept": "value"})
    answer = await fill_in(browser, "/confirm/passkey/options", device)
    form = form_of(asked) | {f"confirm_{name}": value for name, value in answer.items()}
    assert form["kept"] == "value"
    done = await browser.post("/confirm/passkey", data=form)
    assert (done.status_code, done.headers["Location"]) == (307, path)


async def test_passkey_of_another_user_does_not_confirm(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    device = Device()
    await add(ann, device)
    await sign_in(browser, bob)
    await set_age(app, 16)
    answer = await fill_in(browser, "/confirm/passkey/options", device)
    form = {f"confirm_{name}": value for name, value in answer.items()}
    assert (await browser.post("/confirm/passkey", data=form)).status_code == 422
    assert (await browser.get(f"{PAGE}/new")).status_code == 303


async def test_challenge_of_a_new_passkey_does_not_confirm(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    device = Device()
    await make(browser, device)
    begun = (await browser.get(f"{PAGE}/new/options", headers=SCRIPT)).json()
    await set_age(app, 16)
    options = {"challenge": begun["options"]["challenge"], "rpId": "localhost"}
    form = {
        "confirm_token": begun["token"],
        "confirm_credential": json.dumps(device.answer(options)),
    }
    assert (await browser.post("/confirm/passkey", data=form)).status_code == 422
    assert (await browser.get(f"{PAGE}/new")).status_code == 303


async def test_last_way_to_sign_in_stays_on_the_page(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    await make(browser, Device())
    (passkey,) = await stored(app)
    async with app.state.resources.database.transaction() as session:
        (await session.get_one(User, ann.id)).password_hash = NO_PASSWORD
    refused = await browser.post(f"{PAGE}/{passkey.id}/remove")
    assert refused.status_code == 422
    assert "This is your only way to sign in. Set a password first." in refused.text
    assert len(await stored(app)) == 1


async def test_page_renews_the_recovery_codes_after_a_recent_password(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    path = f"{PAGE}/recovery-codes"
    assert (await browser.post(path)).status_code == 409  # There is no factor yet.
    first = await make(browser, Device())
    renewed = await browser.post(path)
    assert renewed.text.count("<code>") == 10
    assert renewed.text.split("<code>")[1] not in first.text
    await set_age(app, 16)
    assert (await browser.post(path)).status_code == 403


async def test_recovery_codes_beside_an_app_are_not_renewed_by_the_password_alone(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    """A thief of the session and the password would switch the app off by a new one."""
    await authenticator.set_up(ann)
    await browser.post("/login", data={"email": ann.email, "password": PASSWORD})
    signed_in = await browser.post("/login/code", data={"code": authenticator.next_code()})
    assert signed_in.status_code == 303
    await set_age(app, 16)
    await browser.post("/confirm", data={"current_password": PASSWORD})
    assert (await browser.post(f"{PAGE}/recovery-codes")).status_code == 403
    await browser.post("/confirm", data={"confirm_code": authenticator.next_code()})
    refused = await browser.post(f"{PAGE}/recovery-codes")
    assert refused.status_code == 409
    assert "requires a code from your app" in refused.text
    form = {"current_password": PASSWORD, "code": authenticator.recovery_codes[0]}
    switched_off = await browser.post("/account/second-factor/disable", data=form)
    assert switched_off.status_code == 303  # by one of the old codes


async def test_address_of_this_machine_is_named_localhost(browser: httpx.AsyncClient) -> None:
    """A passkey is never of an address, and the default of PUBLIC_URL is one."""
    assert 'data-origin="http://localhost:8000"' in (await browser.get("/login")).text
