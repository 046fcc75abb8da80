"""Tests of access to the admin and of all its pages; tests/e2e tests it in a browser."""

import asyncio
import re
from html import unescape
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.admin import UserAdmin
from app.admin import site
from app.core.security.policy_headers import content_security_policy
from app.web.admin_site.site import list_query
from tests.admin import LAMP, change_after_selection, delete_records, make_item
from tests.conftest import PASSWORD, Person, browser_of, counted_statements, sign_in
from tests.forms import form_of
from tests.pages import action_of, href_of
from tests.slices import needs

EVIL = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "=1+1<b>")
PAGES = (
    "/admin",
    "/admin/user/list",
    "/admin/user/create",
    "/admin/item/list",
    "/admin/item/export/csv",
    "/admin/order/list",
    "/admin/auth-session/list",
)


@pytest.mark.parametrize("path", PAGES)
async def test_signed_out_visitor_is_redirected_to_the_sign_in(
    browser: httpx.AsyncClient, path: str
) -> None:
    response = await browser.get(path)
    assert response.status_code == 303
    assert response.headers["Location"] == f"/login?next={path}"


@pytest.mark.parametrize("path", PAGES)
async def test_ordinary_user_gets_403(browser: httpx.AsyncClient, ann: Person, path: str) -> None:
    await sign_in(browser, ann)
    response = await browser.get(path)
    assert response.status_code == 403
    assert "Access denied" in response.text


@needs("items")
async def test_ordinary_user_cannot_change_anything(
    browser: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await sign_in(browser, ann)
    item = await make_item(ann)
    form = LAMP | {"name": "Mine", "version": "1"}
    for call in (
        browser.post(f"/admin/user/edit/{ann.id}", data={"is_superuser": "true"}),
        browser.post("/admin/item/create", data=form),
        browser.post(f"/admin/item/edit/{item['id']}", data=form),
        delete_records(browser, "item", item["id"]),
        delete_records(browser, "user", bob.id),
    ):
        assert (await call).status_code == 403
    assert (await ann.client.get("/api/v1/items")).json()["results"] == [item]
    assert not (await ann.client.get("/api/v1/users/me")).json()["is_superuser"]
    assert (await bob.client.get("/api/v1/users/me")).status_code == 200


async def test_demoted_superuser_is_signed_out_of_the_admin_at_once(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, bob: Person
) -> None:
    assert (await admin.get("/admin/user/list")).status_code == 200
    url = f"/api/v1/users/{bob.id}"
    assert (await root.client.patch(url, json={"is_superuser": True})).status_code == 200
    demotion = {"is_superuser": False}
    assert (await root.client.patch(f"/api/v1/users/{root.id}", json=demotion)).status_code == 200
    assert (await admin.get("/admin/user/list")).status_code == 303
    assert (await admin.post("/admin/item/create", data=LAMP)).status_code == 303
    await sign_in(admin, root)
    assert (await admin.get("/admin/user/list")).status_code == 403
    assert (await admin.post("/admin/item/create", data=LAMP)).status_code == 403


async def test_admin_is_linked_from_the_front_page(browser: httpx.AsyncClient) -> None:
    assert 'href="/admin"' in (await browser.get("/")).text


async def test_sign_out_uses_the_logout_of_the_pages(admin: httpx.AsyncClient) -> None:
    page = await admin.get("/admin/user/list")
    assert '<form method="post" action="/logout">' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    for path in ("/admin/login", "/admin/logout"):
        assert (await admin.get(path)).status_code == 404
    assert (await admin.post("/logout")).status_code == 303
    assert (await admin.get("/admin/user/list")).status_code == 303


@needs("items")
async def test_cross_site_requests_are_refused(
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
            delete_records(admin, "item", item["id"], headers=headers),
        ):
            assert (await call).status_code == 403
    assert (await root.client.get("/api/v1/items")).json()["results"] == [item]


async def test_error_parameter_of_a_link_is_not_displayed(admin: httpx.AsyncClient) -> None:
    page = await admin.get("/admin/item/list?error=Call%20this%20number")
    assert "alert" not in page.text


@pytest.mark.parametrize("path", ["/admin/item/list", "/admin/user/create"])
async def test_content_security_policy_allows_no_inline_code(
    admin: httpx.AsyncClient, path: str
) -> None:
    page = await admin.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert policy == content_security_policy()
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style|style=|\son\w+=", page.text)
    assert not re.findall('(?:src|href|action)="https?://', page.text)


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
async def test_unknown_page_returns_404(admin: httpx.AsyncClient, path: str) -> None:
    page = await admin.get(path)
    assert page.status_code == 404
    assert "<h1>Not found</h1>" in page.text


@needs("items")
@pytest.mark.parametrize("evil", EVIL)
async def test_user_content_is_escaped(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person, evil: str
) -> None:
    item = await make_item(ann, name=evil, description=evil)
    await ann.client.patch("/api/v1/users/me", json={"full_name": evil})
    async with browser_of(app, **{"User-Agent": evil}) as other:
        await sign_in(other, ann)
    for path in (
        "/admin/item/list",
        f"/admin/item/details/{item['id']}",
        f"/admin/item/edit/{item['id']}",
        "/admin/user/list",
        f"/admin/user/details/{ann.id}",
        f"/admin/user/edit/{ann.id}",
        "/admin/auth-session/list",
        f"/admin/item/list?search={evil}&price={evil}&price_op=equals",
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


def link_to(path: str, text: str) -> str:
    return f'<a href="/admin/{path}" dir="auto">{text}</a>'


async def test_foreign_key_is_a_link_with_the_name_of_the_record(
    admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    page = await admin.get("/admin/auth-session/list")
    for person in (root, ann):
        assert link_to(f"user/details/{person.id}", person.email) in page.text
    path = href_of(page, ann.email)
    assert ann.email in (await admin.get(path)).text
    session = (await ann.client.get("/api/v1/auth/sessions")).json()[0]["id"]
    details = await admin.get(f"/admin/auth-session/details/{session}")
    assert link_to(f"user/details/{ann.id}", ann.email) in details.text


async def test_foreign_key_to_a_record_without_a_name_shows_the_key(
    admin: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserAdmin, "title_field", "full_name")
    page = await admin.get("/admin/auth-session/list")
    assert link_to(f"user/details/{ann.id}", str(ann.id)) in page.text


@needs("items")
async def test_names_of_the_owners_of_a_list_take_one_statement(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    for person in (ann, bob, ann):
        await make_item(person)
    async with counted_statements(app) as statements:
        page = await admin.get("/admin/item/list")
    for person in (ann, bob):
        assert link_to(f"user/details/{person.id}", person.email) in page.text
    assert len([each for each in statements if "FROM users" in each]) == 1
    exported = (await admin.get("/admin/item/export/csv")).text
    assert f",{ann.id}," in exported
    assert ann.email not in exported


async def test_admin_is_translated_in_all_its_pages(
    app: FastAPI, admin: httpx.AsyncClient, root: Person
) -> None:
    admin.headers["Accept-Language"] = "ko"
    page = (await admin.get(f"/admin/user/delete?select-{root.id}=on")).text
    assert "삭제하면 복원할 수 없습니다." in page
    page = (await admin.get("/admin/security-event/list")).text
    assert "<td>로그인 (sign_in)</td>" in page
    assert "<td>성공</td>" in page


@needs("items")
async def test_changes_are_confirmed_by_the_name_of_the_record(
    admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann, name="Desk <b>")
    details = await admin.get(f"/admin/item/details/{item['id']}")
    assert '<h1 class="breaks" dir="auto">Desk &lt;b&gt;</h1>' in details.text
    edit = f"/admin/item/edit/{item['id']}"
    saved = await admin.post(edit, data=form_of(await admin.get(edit)) | {"name": "Table"})
    assert "“Table” saved." in (await admin.get(saved.headers["Location"])).text
    asked = await admin.get(
        href_of(await admin.get(f"/admin/item/details/{item['id']}"), "Delete…")
    )
    assert "Delete <bdi>Table</bdi>?" in asked.text
    deleted = await admin.post("/admin/item/delete", data=form_of(asked))
    assert "“Table” deleted." in (await admin.get(deleted.headers["Location"])).text


@needs("items")
async def test_edited_record_leads_back_to_the_same_list(
    admin: httpx.AsyncClient, root: Person
) -> None:
    batch = [LAMP | {"name": f"Lamp {n}"} for n in range(25)]
    await root.client.post("/api/v1/items/batch", json=batch)
    page = await admin.get("/admin/item/list?search=lamp&sort=name&page=2")
    edit = unescape(re.findall(r'href="(/admin/item/edit/[^"]+)"', page.text)[0])
    saved = await admin.post(edit, data=form_of(await admin.get(edit)))
    assert saved.headers["Location"] == "/admin/item/list?search=lamp&sort=name&page=2"


@needs("items")
async def test_form_survives_the_end_of_the_session(admin: httpx.AsyncClient, root: Person) -> None:
    form = form_of(await admin.get("/admin/item/create")) | LAMP
    await admin.post("/logout")
    asked = await admin.post("/admin/item/create", data=form)
    sign_in_form = form_of(asked) | {"email": root.email, "password": PASSWORD}
    signed_in = await admin.post("/login", data=sign_in_form)
    shown = await admin.post(signed_in.headers["Location"], data=sign_in_form)
    assert "Nothing is saved yet" in shown.text
    assert form_of(shown).items() >= LAMP.items()
    assert (await admin.post(action_of(shown), data=form_of(shown))).status_code == 303


async def test_empty_selection_deletes_nothing(admin: httpx.AsyncClient) -> None:
    for call in (admin.get("/admin/user/delete"), admin.post("/admin/user/delete", data={})):
        answer = await call
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/user/list")
    assert "Select first what to delete." in (await admin.get("/admin/user/list")).text


async def test_list_without_results_says_so(admin: httpx.AsyncClient) -> None:
    assert "There is nothing here yet." in (await admin.get("/admin/api-key/list")).text
    assert "Nothing matches." in (await admin.get("/admin/user/list?search=nobody")).text
    assert "Nothing matches." in (await admin.get("/admin/user/list?is_active=perhaps")).text


async def test_search_form_of_every_list_is_understood(admin: httpx.AsyncClient) -> None:
    for view in site.views:
        url = f"/admin/{view.identity}/list"
        page = await admin.get(url)
        form = re.search('(?s)<form class="filters".*?</form>', page.text)
        if form is None:
            continue
        names = re.findall(' name="([^"]+)"', form[0])
        params = dict.fromkeys(names, "") | {"search": "x", "sort": view.default_sort[0]}
        assert "sort" in names
        assert (await admin.get(url, params=params)).status_code == 200, view.identity


async def test_slash_after_the_address_makes_no_difference(admin: httpx.AsyncClient) -> None:
    for path in ("/admin", "/admin/"):
        assert (await admin.get(path)).headers["Location"] == "/admin/user/list"


@needs("items")
async def test_deletion_of_a_selection_skips_what_is_gone(
    admin: httpx.AsyncClient, root: Person
) -> None:
    items = [await make_item(root, name=f"Lamp {n}") for n in range(12)]
    picked = {f"select-{items[n]['id']}": "on" for n in (11, 8, 9)}
    asked = await admin.get("/admin/item/delete", params=picked | {"select-x": "on"})
    assert re.findall(">(Lamp [0-9]+)</label>", asked.text) == ["Lamp 8", "Lamp 9", "Lamp 11"]
    await root.client.delete(f"/api/v1/items/{items[9]['id']}")
    for message in ("2 deleted.", "This was deleted already."):
        answer = await admin.post("/admin/item/delete", data=form_of(asked))
        assert message in (await admin.get(answer.headers["Location"])).text
    assert len((await root.client.get("/api/v1/items")).json()["results"]) == 9


@needs("items")
async def test_record_that_has_changed_is_named_and_nothing_is_deleted(
    admin: httpx.AsyncClient, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp, desk = await make_item(root, name="Lamp"), await make_item(root, name="Desk")
    picked = {f"select-{item['id']}": "1" for item in (lamp, desk)}
    asked = await admin.get("/admin/item/delete", params=picked)

    async def rename_desk(name: str) -> None:
        url = f"/api/v1/items/{desk['id']}"
        assert (await root.client.patch(url, json={"name": name})).status_code == 200

    async def expect_refusal(name: str) -> httpx.Response:
        refused = await admin.post("/admin/item/delete", data=form_of(asked))
        assert refused.status_code == 409
        assert re.findall('id="select-(\\d+)-error"', refused.text) == [str(desk["id"])]
        assert name in refused.text
        assert len((await root.client.get("/api/v1/items")).json()["results"]) == 2
        return refused

    change_after_selection(monkeypatch, lambda: rename_desk("Bench"))
    await expect_refusal("Bench")
    await rename_desk("Table")
    page = await expect_refusal("Table")
    # Only the other one is still selected. Selected again, the changed one is deleted as it is now.
    form = form_of(page)
    assert form[f"select-{lamp['id']}"] == "1"
    assert f"select-{desk['id']}" not in form
    both = form | {f"select-{desk['id']}": "3"}
    assert (await admin.post("/admin/item/delete", data=both)).status_code == 303
    assert (await root.client.get("/api/v1/items")).json()["results"] == []


@needs("items")
async def test_form_that_is_sent_twice_creates_one_record(
    admin: httpx.AsyncClient, root: Person
) -> None:
    form = form_of(await admin.get("/admin/item/create")) | LAMP
    answers = await asyncio.gather(*(admin.post("/admin/item/create", data=form) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    assert "“Lamp” created." in (await admin.get("/admin/item/list")).text
    assert len((await root.client.get("/api/v1/items")).json()["results"]) == 1
    other = form_of(await admin.get("/admin/item/create")) | LAMP
    assert (await admin.post("/admin/item/create", data=other)).status_code == 303
    assert len((await root.client.get("/api/v1/items")).json()["results"]) == 2


async def test_selection_of_more_than_a_page_is_refused(admin: httpx.AsyncClient) -> None:
    form = {f"select-{number}": "on" for number in range(101)}
    assert (await admin.get("/admin/user/delete", params=form)).status_code == 422
    assert (await admin.post("/admin/user/delete", data=form)).status_code == 422


@needs("items")
async def test_deletion_leads_back_to_the_same_list(admin: httpx.AsyncClient, root: Person) -> None:
    item = await make_item(root)
    page = await admin.get("/admin/item/list?search=lamp&page_size=50")
    (hidden,) = re.findall('(?s)<form id="selection".*?</form>', page.text)
    fields = dict(re.findall('type="hidden" name="([^"]+)" value="([^"]+)"', hidden))
    asked = await admin.get("/admin/item/delete", params={f"select-{item['id']}": "on"} | fields)
    deleted = await admin.post(action_of(asked), data=form_of(asked))
    assert deleted.headers["Location"] == "/admin/item/list?search=lamp&page_size=50"


def test_filters_have_any_names() -> None:
    names = ["number", "identity", "pk", "request", "view", "params"]
    view: Any = SimpleNamespace(list_filters=[SimpleNamespace(names=names)])
    query = dict.fromkeys(names, "1") | {"page": "2", "x": "y"}
    expected = dict.fromkeys(names, "1") | {"sort": "a"}
    assert dict(parse_qsl(list_query(view, query, sort="a")[1:])) == expected
    without = list_query(view, query, number="", page="3")
    assert dict(parse_qsl(without[1:])) == dict.fromkeys(names[1:], "1") | {"page": "3"}


async def test_record_without_a_name_is_called_by_its_key(
    admin: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserAdmin, "title_field", "full_name")
    page = await admin.get(f"/admin/user/details/{ann.id}")
    assert f">User {ann.id}</h1>" in page.text
    monkeypatch.setattr(UserAdmin, "title_field", "created_at")
    assert (await admin.get("/admin/auth-session/list")).status_code == 200
