"""The users and their sessions in the admin."""

import logging
import re

import httpx
import pytest
from fastapi import FastAPI

from tests.accounts.conftest import FACTOR, Authenticator, Outbox, set_age, verify_address
from tests.accounts.steps import event_facts
from tests.admin import (
    alert,
    change_after_selection,
    delete_records,
    edit_user,
    field_errors,
    make_item,
)
from tests.conftest import PASSWORD, Person, browser_of, sign_in
from tests.forms import form_of
from tests.slices import needs


async def test_pages_and_files_contain_no_hash(
    admin: httpx.AsyncClient, ann: Person, password_hash: str
) -> None:
    assert password_hash.startswith("$argon2")
    for path in (
        "/admin/user/list",
        f"/admin/user/details/{ann.id}",
        f"/admin/user/edit/{ann.id}",
        "/admin/user/export/csv",
        "/admin/user/export/ndjson",
        "/admin/auth-session/list",
        "/admin/auth-session/export/csv",
    ):
        page = await admin.get(path)
        assert page.status_code == 200
        assert ann.email in page.text or "/user/edit" in path or "/user/" not in path
        assert "argon2" not in page.text
        assert "hash" not in page.text


async def test_user_form_creates_a_user(
    admin: httpx.AsyncClient, app: FastAPI, root: Person
) -> None:
    form = {
        "email": "new@example.com",
        "password": PASSWORD,
        "full_name": "New",
        "is_superuser": "true",
    }
    assert (await admin.post("/admin/user/create", data=form)).status_code == 303
    user = await app.state.resources.accounts.users.get_by_email("NEW@example.com")
    assert (user.full_name, user.is_superuser, user.is_verified) == ("New", True, True)
    again = await admin.post("/admin/user/create", data=form | {"email": "NEW@example.com"})
    assert again.status_code == 422
    assert field_errors(again) == "An account with this email address already exists."
    assert PASSWORD not in again.text
    short = await admin.post(
        "/admin/user/create", data=form | {"email": "b@example.com", "password": "x"}
    )
    assert field_errors(short) == "At least 10 characters."


async def test_administrator_switches_a_second_factor_off(
    admin: httpx.AsyncClient,
    app: FastAPI,
    ann: Person,
    root: Person,
    authenticator: Authenticator,
    outbox: Outbox,
) -> None:
    form = {"full_name": "Ann", "is_active": "true"}
    refused = await edit_user(admin, ann.id, form | {"remove_second_factor": "true"})
    assert (refused.status_code, alert(refused)) == (422, "There is no second factor.")
    await verify_address(app, ann)
    await authenticator.set_up(ann)
    assert (await edit_user(admin, ann.id, form)).status_code == 303
    assert (await ann.client.get(FACTOR)).json()["is_enabled"]
    done = await edit_user(admin, ann.id, form | {"remove_second_factor": "true"})
    assert done.status_code == 303, alert(done)
    assert (await ann.client.get(FACTOR)).status_code == 401  # Every session has ended.
    async with browser_of(app) as anns:
        await sign_in(anns, ann)
    events = await event_facts(app)
    assert ("second_factor_disabled", "success", ann.id, root.id) in events
    assert (ann.email, "second_factor_disabled") in await outbox.to()


async def test_second_factor_is_switched_off_after_a_recent_password(
    admin: httpx.AsyncClient, app: FastAPI, ann: Person, authenticator: Authenticator
) -> None:
    await verify_address(app, ann)
    await authenticator.set_up(ann)
    await set_age(app, 16)
    form = {"full_name": "Ann", "is_active": "true", "remove_second_factor": "true"}
    assert (await admin.post(f"/admin/user/edit/{ann.id}", data=form)).status_code == 403
    assert (await ann.client.get(FACTOR)).json()["is_enabled"]


async def test_new_password_ends_every_session(
    admin: httpx.AsyncClient, app: FastAPI, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    form = {"full_name": "Ann", "is_active": "true", "password": "another long password"}
    async with browser_of(app) as anns:
        await sign_in(anns, ann)
        with caplog.at_level(logging.DEBUG):
            saved = await edit_user(admin, ann.id, form)
        assert saved.status_code == 303
        assert (await anns.get("/account")).status_code == 303
        assert (await ann.client.get("/api/v1/users/me")).status_code == 401
        signed_in = {"email": ann.email, "password": form["password"]}
        assert (await anns.post("/login", data=signed_in)).status_code == 303
    assert f"changed user {ann.id} (full_name, password)" in caplog.text
    assert form["password"] not in caplog.text


async def test_empty_password_leaves_it_unchanged(admin: httpx.AsyncClient, ann: Person) -> None:
    form = {"full_name": "", "is_active": "true", "password": ""}
    assert (await edit_user(admin, ann.id, form)).status_code == 303
    me = (await ann.client.get("/api/v1/users/me")).json()
    assert (me["full_name"], me["is_active"], me["is_superuser"]) == (None, True, False)
    assert (await edit_user(admin, ann.id, {})).status_code == 303
    assert (await ann.client.get("/api/v1/users/me")).status_code == 401  # deactivated


async def test_old_form_does_not_activate_a_user_again(
    admin: httpx.AsyncClient, app: FastAPI, ann: Person, root: Person
) -> None:
    """Another administrator has deactivated the user since the form was opened."""
    url = f"/admin/user/edit/{ann.id}"
    form = form_of(await admin.get(url)) | {"full_name": "Ann"}
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": False})
    page = await admin.post(url, data=form)
    assert page.status_code == 422
    assert alert(page) == "The user has changed since you opened the form. Open it again."
    user = await app.state.resources.accounts.users.get(ann.id)
    assert (user.full_name, user.is_active) == (None, False)
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": True})
    form = form_of(await admin.get(url)) | {"full_name": "Ann"}
    assert (await admin.post(url, data=form)).status_code == 303


async def test_last_superuser_cannot_be_removed(
    admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    words = "This is the last active superuser. Create another one first."
    for form in ({"is_active": "true"}, {"is_superuser": "true"}):
        page = await edit_user(admin, root.id, form)
        assert page.status_code == 422
        assert alert(page) == words
    refused = await delete_records(admin, "user", ann.id, root.id)
    assert refused.status_code == 409
    assert words in refused.text
    assert (await ann.client.get("/api/v1/users/me")).status_code == 200


@needs("items")
async def test_several_users_are_deleted_with_their_items(
    admin: httpx.AsyncClient, root: Person, ann: Person, bob: Person
) -> None:
    await make_item(ann)
    gone = await delete_records(admin, "user", bob.id, ann.id)
    assert gone.status_code == 303
    assert [each["id"] for each in (await root.client.get("/api/v1/users")).json()["results"]] == [
        root.id
    ]
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


@pytest.mark.parametrize("is_late", [False, True])
async def test_user_who_has_changed_is_not_deleted(
    admin: httpx.AsyncClient,
    ann: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
    is_late: bool,
) -> None:
    picked = {f"select-{person.id}": "on" for person in (ann, bob)}
    form = form_of(await admin.get("/admin/user/delete", params=picked))

    async def change() -> None:
        await ann.client.patch("/api/v1/users/me", json={"full_name": "Ann"})

    if is_late:
        change_after_selection(monkeypatch, change)
    else:
        await change()
    refused = await admin.post("/admin/user/delete", data=form)
    assert refused.status_code == 409
    assert re.findall('id="select-(\\d+)-error"', refused.text) == [str(ann.id)]
    for person in (ann, bob):
        assert (await person.client.get("/api/v1/users/me")).status_code == 200
    form = form_of(await admin.get("/admin/user/delete", params=picked))
    assert (await admin.post("/admin/user/delete", data=form)).status_code == 303
    assert (await ann.client.get("/api/v1/users/me")).status_code == 401


async def test_deleted_session_is_signed_out(
    admin: httpx.AsyncClient, ann: Person, root: Person, caplog: pytest.LogCaptureFixture
) -> None:
    (session,) = (await ann.client.get("/api/v1/auth/sessions")).json()
    listed = await admin.get(f"/admin/auth-session/list?user_id={ann.id}&user_id_op=equals")
    assert session["id"] in listed.text
    for call in (
        admin.get("/admin/auth-session/create"),
        admin.get(f"/admin/auth-session/edit/{session['id']}"),
        admin.post(f"/admin/auth-session/edit/{session['id']}", data={"user_id": root.id}),
    ):
        assert (await call).status_code == 403
    with caplog.at_level(logging.INFO, "app.admin"):
        ended = await delete_records(admin, "auth-session", session["id"])
    assert ended.status_code == 303
    assert f"User {root.id} deleted auth-session {session['id']}" in caplog.text
    assert (await ann.client.get("/api/v1/auth/sessions")).status_code == 401


async def test_name_of_the_user_as_a_password_is_refused(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    form = {"is_active": "true", "password": f"{ann.email}1"}
    page = await edit_user(admin, ann.id, form)
    assert (page.status_code, "name of this site" in page.text) == (422, True)


async def test_security_events_can_only_be_read(
    admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    listed = await admin.get("/admin/security-event/list")
    assert "sign_in" in listed.text
    filtered = f"/admin/security-event/list?subject_id={ann.id}&subject_id_op=equals"
    assert "sign_in" not in (await admin.get(filtered)).text
    (event,) = (await root.client.get("/api/v1/users/me/security-events")).json()["results"]
    details = await admin.get(f"/admin/security-event/details/{event['id']}")
    assert (details.status_code, "sign_in" in details.text) == (200, True)
    assert "sign_in" in (await admin.get("/admin/security-event/export/csv")).text
    for call in (
        admin.get("/admin/security-event/create"),
        admin.get(f"/admin/security-event/edit/{event['id']}"),
        delete_records(admin, "security-event", event["id"]),
    ):
        assert (await call).status_code == 403
