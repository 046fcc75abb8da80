"""The admin, by the HTTP that its pages speak: tests/e2e has a browser."""

import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.core.policy import content_security_policy
from tests.conftest import PASSWORD, Person, browser_of, counted_statements, sign_in

LAMP = {"name": "Lamp", "price": "19.99", "description": "Brass"}
EVIL = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "=1+1<b>")
PAGES = (
    "/admin",
    "/admin/",
    "/admin/user/list",
    "/admin/user/create",
    "/admin/item/list",
    "/admin/item/export/csv",
    "/admin/auth-session/list",
)


@pytest.fixture
async def admin(app: FastAPI, root: Person) -> AsyncIterator[httpx.AsyncClient]:
    """The superuser's browser."""
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        yield browser


async def make_item(person: Person, **values: Any) -> Any:
    response = await person.client.post("/api/v1/items", json=LAMP | values)
    assert response.status_code == 201
    return response.json()


def alert(page: httpx.Response) -> str:
    return "".join(
        re.findall('<div class="alert alert-danger" role="alert">(.*?)</div>', page.text)
    )


def error_of(page: httpx.Response) -> str:
    return "".join(re.findall('<div class="invalid-feedback">(.*?)</div>', page.text))


def value(page: httpx.Response, name: str) -> str:
    (tag,) = re.findall(f'<input[^>]* name="{name}"[^>]*>', page.text)
    return "".join(re.findall('value="([^"]*)"', tag))


# Who gets in


@pytest.mark.parametrize("path", PAGES)
async def test_who_is_signed_out_signs_in_first(browser: httpx.AsyncClient, path: str) -> None:
    response = await browser.get(path)
    assert response.status_code == 303
    assert response.headers["Location"] == f"/login?next={path}"


@pytest.mark.parametrize("path", PAGES)
async def test_a_user_is_refused(browser: httpx.AsyncClient, ann: Person, path: str) -> None:
    await sign_in(browser, ann)
    response = await browser.get(path)
    assert response.status_code == 403
    assert "You may not do this" in response.text
    assert "Sign out" not in response.text or "brand" in response.text


async def test_a_user_changes_nothing(browser: httpx.AsyncClient, ann: Person, bob: Person) -> None:
    await sign_in(browser, ann)
    item = await make_item(ann)
    form = LAMP | {"name": "Mine", "version": "1"}
    for call in (
        browser.post(f"/admin/user/edit/{ann.id}", data={"is_superuser": "y", "is_active": "y"}),
        browser.post("/admin/item/create", data=form),
        browser.post(f"/admin/item/edit/{item['id']}", data=form),
        browser.delete(f"/admin/item/delete?pks={item['id']}"),
        browser.delete(f"/admin/user/delete?pks={bob.id}"),
    ):
        assert (await call).status_code == 403
    assert (await ann.client.get("/api/v1/items")).json()["results"] == [item]
    assert not (await ann.client.get("/api/v1/users/me")).json()["is_superuser"]
    assert (await bob.client.get("/api/v1/users/me")).status_code == 200


async def test_who_is_no_superuser_any_more_is_out_at_once(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, bob: Person
) -> None:
    assert (await admin.get("/admin/user/list")).status_code == 200
    url = f"/api/v1/users/{bob.id}"
    assert (await root.client.patch(url, json={"is_superuser": True})).status_code == 200
    async with app.state.database.transaction() as session:
        await session.execute(text(f"UPDATE users SET is_superuser = false WHERE id = {root.id}"))
    assert (await admin.get("/admin/user/list")).status_code == 403
    assert (await admin.post("/admin/item/create", data=LAMP)).status_code == 403
    async with app.state.database.transaction() as session:
        await session.execute(text("DELETE FROM auth_sessions"))
    assert (await admin.get("/admin/user/list")).status_code == 303


async def test_signing_out_is_the_pages(admin: httpx.AsyncClient) -> None:
    page = await admin.get("/admin/user/list")
    assert '<form method="post" action="/logout">' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    for path in ("/admin/login", "/admin/logout"):
        assert (await admin.get(path)).status_code == 404
    assert (await admin.post("/logout")).status_code == 303
    assert (await admin.get("/admin/user/list")).status_code == 303


async def test_no_other_site_changes_anything(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    item = await make_item(root)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": ""},
    ):
        for call in (
            admin.post("/admin/item/create", data=LAMP, headers=headers),
            admin.post(f"/admin/item/edit/{item['id']}", data=LAMP, headers=headers),
            admin.delete(f"/admin/item/delete?pks={item['id']}", headers=headers),
        ):
            assert (await call).status_code == 403
    assert (await root.client.get("/api/v1/items")).json()["results"] == [item]


@pytest.mark.parametrize("path", ["/admin/item/list", "/admin/user/create"])
async def test_the_policy_has_one_exception(admin: httpx.AsyncClient, path: str) -> None:
    page = await admin.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert policy == content_security_policy(img_src="'self' data:", font_src="'self'")
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style|style=|\son\w+=", page.text)
    found = re.findall('(?:src|href|action)="(https?://[^/"]*)', page.text)
    assert set(found) <= {"http://localhost"}


# Items


async def test_an_item_from_its_making_to_its_end(
    admin: httpx.AsyncClient, root: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.admin")
    made = await admin.post("/admin/item/create", data=LAMP | {"is_offer": "y", "save": "Save"})
    assert made.status_code == 303
    assert made.headers["Location"] == "http://localhost/admin/item/list"
    (item,) = (await root.client.get("/api/v1/items")).json()["results"]
    assert item.items() >= (LAMP | {"is_offer": True, "version": 1, "owner_id": root.id}).items()
    edit = await admin.get(f"/admin/item/edit/{item['id']}")
    assert (value(edit, "name"), value(edit, "price"), value(edit, "version")) == (
        "Lamp",
        "19.99",
        "1",
    )
    assert ">Brass</textarea>" in edit.text.replace("\r\n", "")
    form = {"name": "Desk", "price": "5", "description": "", "version": "1"}
    saved = await admin.post(f"/admin/item/edit/{item['id']}", data=form)
    assert saved.status_code == 303
    changed = (await root.client.get(f"/api/v1/items/{item['id']}")).json()
    expected = {"name": "Desk", "price": "5.00", "description": None, "is_offer": False}
    assert changed.items() >= (expected | {"version": 2}).items()
    deleted = await admin.delete(f"/admin/item/delete?pks={item['id']}")
    assert deleted.text == "http://localhost/admin/item/list"
    assert (await root.client.get("/api/v1/items")).json()["results"] == []
    assert [record.getMessage() for record in caplog.records if record.name == "app.admin"] == [
        f"User {root.id} created item {item['id']}",
        f"User {root.id} changed item {item['id']} (name, description, price, is_offer)",
        f"User {root.id} deleted item {item['id']}",
    ]


async def test_what_has_changed_meanwhile_is_not_overwritten(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await ann.client.patch(f"/api/v1/items/{item['id']}", json={"price": "1"})
    page = await admin.post(f"/admin/item/edit/{item['id']}", data=LAMP | {"version": "1"})
    assert page.status_code == 422
    assert alert(page) == "The item has changed: it is version 2 now."
    now = (await ann.client.get(f"/api/v1/items/{item['id']}")).json()
    assert (now["price"], now["version"]) == ("1.00", 2)


async def test_the_owners_sockets_hear_of_it(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, told = await make_item(ann), list[Any]()
    monkeypatch.setattr(app.state.database, "_publish", told.extend)
    await admin.post(f"/admin/item/edit/{item['id']}", data=LAMP | {"version": "1"})
    await admin.delete(f"/admin/item/delete?pks={item['id']}")
    assert [(event.type, event.owner_id, event.version) for event in told] == [
        ("item.updated", ann.id, 2),
        ("item.deleted", ann.id, 2),
    ]


@pytest.mark.parametrize(
    ("name", "sent", "words"),
    [
        ("name", "", "Please fill this in."),
        ("name", "x" * 256, "At most 255 characters."),
        ("name", "a\x00b", "There is a character in it that cannot be kept."),
        ("price", "cheap", "A number such as 19.99."),
        ("price", "nan", "A number such as 19.99."),
        ("price", "-1", "At least 0."),
        ("description", "x" * 10_001, "At most 10000 characters."),
    ],
)
async def test_a_field_that_is_refused(
    admin: httpx.AsyncClient, root: Person, name: str, sent: str, words: str
) -> None:
    item = await make_item(root)
    for path in ("/admin/item/create", f"/admin/item/edit/{item['id']}"):
        page = await admin.post(path, data=LAMP | {name: sent, "version": "1"})
        assert page.status_code == 422
        assert error_of(page) == words
    assert (await root.client.get("/api/v1/items")).json()["results"] == [item]


async def test_all_of_the_chosen_are_deleted_or_none(
    admin: httpx.AsyncClient, root: Person
) -> None:
    one, two = (await make_item(root))["id"], (await make_item(root))["id"]
    gone = await admin.delete(f"/admin/item/delete?pks={one},{two},999")
    assert gone.status_code == 404
    assert len((await root.client.get("/api/v1/items")).json()["results"]) == 2
    assert (await admin.delete(f"/admin/item/delete?pks={one},{two}")).status_code == 200
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


# Lists


def ids(page: httpx.Response) -> list[int]:
    assert page.status_code == 200
    return [int(each) for each in re.findall(r'<input type="hidden" value="(\d+)">', page.text)]


async def test_search_filter_and_sort(admin: httpx.AsyncClient, ann: Person, bob: Person) -> None:
    lamp = (await make_item(ann, name="Lämp 100%", price="20"))["id"]
    desk = (await make_item(ann, name="Desk", price="5", is_offer=True))["id"]
    chair = (await make_item(bob, name="Chair", price="9.99"))["id"]
    for query, expected in {
        "": [chair, desk, lamp],
        "search=LÄMP": [lamp],
        "search=100%25": [lamp],
        "search=%25": [lamp],
        "search=_": [],
        "search=brass": [chair, desk, lamp],
        "search=%00": [],
        "is_offer=true": [desk],
        "is_offer=all": [chair, desk, lamp],
        "price=9.99&price_op=equals": [chair],
        "price=6&price_op=greater_than": [chair, lamp],
        "price=6&price_op=less_than": [desk],
        "price=nan&price_op=equals": [],
        "price=cheap&price_op=less_than": [],
        "price=1&price_op=drop": [],
        f"owner_id={ann.id}&owner_id_op=equals": [desk, lamp],
        f"owner_id={2**70}&owner_id_op=equals": [],
        "owner_id=me&owner_id_op=equals": [],
        "sortBy=name&sort=asc": [chair, desk, lamp],
        "sortBy=price&sort=desc": [lamp, chair, desk],
        "page=9999999999999999999999": [chair, desk, lamp],
        "page=-1": [chair, desk, lamp],
    }.items():
        page = await admin.get(f"/admin/item/list?{query}", follow_redirects=True)
        assert ids(page) == expected, query
    for query in ("page=x", "pageSize=0", "pageSize=1000", "pageSize=x", "sortBy=password_hash"):
        assert (await admin.get(f"/admin/item/list?{query}")).status_code == 400, query


async def test_a_list_costs_as_many_queries_as_it_has_to(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    batch = [LAMP | {"name": f"Lamp {n}"} for n in range(50)]
    await root.client.post("/api/v1/items/batch", json=batch)
    async with counted_statements(app) as seen:
        page = await admin.get("/admin/item/list?pageSize=50&sortBy=name&sort=asc")
    assert len(ids(page)) == 50
    assert len(seen) == 3  # who is asking, how many there are, and those of the page
    assert "ORDER BY" not in next(each for each in seen if "count(" in each)


@pytest.mark.parametrize(
    "path",
    [
        "/admin/item/details/999",
        "/admin/item/details/x",
        f"/admin/item/details/{2**70}",
        "/admin/item/edit/999",
        "/admin/item/edit/1%00",
        "/admin/auth-session/details/x",
        "/admin/auth-session/details/00000000-0000-0000-0000-000000000000",
        "/admin/nothing/list",
        "/admin/item/export/xls",
        "/admin/item/1/name/download/",
        "/admin/nowhere",
    ],
)
async def test_what_there_is_not(admin: httpx.AsyncClient, path: str) -> None:
    page = await admin.get(path)
    assert page.status_code == 404
    assert "There is no such page" in page.text


# Files


async def test_an_export_is_of_what_the_list_shows(admin: httpx.AsyncClient, root: Person) -> None:
    await make_item(root, name="=1+1", price="5")
    await make_item(root, name="Desk", price="50")
    file = await admin.get("/admin/item/export/csv?price=10&price_op=less_than")
    assert file.headers["Content-Disposition"] == 'attachment; filename="item.csv"'
    head, row = file.text.removeprefix("\ufeff").splitlines()
    assert head == "id,name,description,price,is_offer,owner_id,created_at,updated_at,version"
    assert row.split(",")[1:5] == ["'=1+1", "Brass", "5.00", "false"]
    lines = (await admin.get("/admin/item/export/ndjson")).text.splitlines()
    assert len(lines) == 2


async def test_a_long_export(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.admin.view.ROWS_OF_A_PAGE", 2)
    await root.client.post("/api/v1/items/batch", json=[LAMP] * 5)
    file = await admin.get("/admin/item/export/ndjson")
    assert len(file.text.splitlines()) == 5
    sessions = await admin.get("/admin/auth-session/export/csv")
    assert len(sessions.text.splitlines()) == 3


# Users


async def test_no_page_and_no_file_has_a_hash(
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
        assert ann.email in page.text or "auth-session" in path or "edit" in path
        assert "argon2" not in page.text
        assert "hash" not in page.text


async def test_a_user_is_made(admin: httpx.AsyncClient, app: FastAPI, root: Person) -> None:
    form = {
        "email": "new@example.com",
        "password": PASSWORD,
        "full_name": "New",
        "is_superuser": "y",
    }
    assert (await admin.post("/admin/user/create", data=form)).status_code == 303
    user = await app.state.users.get_by_email("NEW@example.com")
    assert (user.full_name, user.is_superuser, user.is_verified) == ("New", True, True)
    again = await admin.post("/admin/user/create", data=form | {"email": "NEW@example.com"})
    assert again.status_code == 422
    assert error_of(again) == "There is an account with this e-mail address already."
    assert PASSWORD not in again.text
    short = await admin.post(
        "/admin/user/create", data=form | {"email": "b@example.com", "password": "x"}
    )
    assert error_of(short) == "At least 10 characters."


async def test_a_new_password_ends_every_session(
    admin: httpx.AsyncClient, app: FastAPI, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    form = {"full_name": "Ann", "is_active": "y", "password": "another long password"}
    async with browser_of(app) as anns:
        await sign_in(anns, ann)
        with caplog.at_level(logging.DEBUG):
            saved = await admin.post(f"/admin/user/edit/{ann.id}", data=form)
        assert saved.status_code == 303
        assert (await anns.get("/account")).status_code == 303
        assert (await ann.client.get("/api/v1/users/me")).status_code == 401
        signed_in = {"email": ann.email, "password": form["password"]}
        assert (await anns.post("/login", data=signed_in)).status_code == 303
    assert f"changed user {ann.id} (full_name, password)" in caplog.text
    assert form["password"] not in caplog.text


async def test_without_a_password_it_stays(admin: httpx.AsyncClient, ann: Person) -> None:
    form = {"full_name": "", "is_active": "y", "password": ""}
    assert (await admin.post(f"/admin/user/edit/{ann.id}", data=form)).status_code == 303
    me = (await ann.client.get("/api/v1/users/me")).json()
    assert (me["full_name"], me["is_active"], me["is_superuser"]) == (None, True, False)
    assert (await admin.post(f"/admin/user/edit/{ann.id}", data={})).status_code == 303
    assert (await ann.client.get("/api/v1/users/me")).status_code == 401  # deactivated


async def test_the_last_superuser_stays(
    admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    words = "Nobody else could manage the users: make another superuser first."
    for form in ({"is_active": "y"}, {"is_superuser": "y"}):
        page = await admin.post(f"/admin/user/edit/{root.id}", data=form)
        assert page.status_code == 422
        assert alert(page) == words
    refused = await admin.delete(f"/admin/user/delete?pks={ann.id},{root.id}")
    assert refused.status_code == 409
    assert words in refused.text
    assert (await ann.client.get("/api/v1/users/me")).status_code == 200


async def test_users_are_deleted(
    admin: httpx.AsyncClient, root: Person, ann: Person, bob: Person
) -> None:
    await make_item(ann)
    gone = await admin.delete(f"/admin/user/delete?pks={bob.id},{ann.id}")
    assert gone.status_code == 200
    assert [each["id"] for each in (await root.client.get("/api/v1/users")).json()["results"]] == [
        root.id
    ]
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


# Sessions


async def test_a_session_is_ended(
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
        ended = await admin.delete(f"/admin/auth-session/delete?pks={session['id']}")
    assert ended.status_code == 200
    assert f"User {root.id} deleted auth-session {session['id']}" in caplog.text
    assert (await ann.client.get("/api/v1/auth/sessions")).status_code == 401


# What others have written


@pytest.mark.parametrize("evil", EVIL)
async def test_what_others_write_is_text(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person, evil: str
) -> None:
    item = await make_item(ann, name=evil, description=evil)
    await ann.client.patch("/api/v1/users/me", json={"full_name": evil})
    async with browser_of(app, **{"User-Agent": evil}) as anns:
        await sign_in(anns, ann)
    for path in (
        "/admin/item/list",
        f"/admin/item/details/{item['id']}",
        f"/admin/item/edit/{item['id']}",
        "/admin/user/list",
        f"/admin/user/details/{ann.id}",
        f"/admin/user/edit/{ann.id}",
        "/admin/auth-session/list",
        f"/admin/item/list?search={evil}&price={evil}&price_op=equals",
        f"/admin/item/list?error={evil}",
    ):
        page = await admin.get(path)
        assert page.status_code == 200
        assert evil not in page.text, path
    for path in (f"/admin/item/edit/{item['id']}", f"/admin/user/edit/{ann.id}"):
        form = {
            "name": evil,
            "description": evil,
            "price": evil,
            "full_name": evil,
            "password": evil[:9],
        }
        page = await admin.post(path, data=form)
        assert page.status_code == 422
        assert evil not in page.text
    for kind in ("item", "user", "auth-session"):
        file = await admin.get(f"/admin/{kind}/export/csv")
        assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert file.headers["Content-Disposition"].startswith("attachment")
        assert ",=" not in file.text
