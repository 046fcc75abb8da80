"""Tests of access to the admin and of all its pages; tests/e2e tests it in a browser."""

import re

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.admin import UserAdmin
from app.core.security.policy_headers import content_security_policy
from tests.admin import LAMP, make_item
from tests.conftest import Person, browser_of, counted_statements, sign_in
from tests.slices import needs

EVIL = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "=1+1<b>")
PAGES = (
    "/admin",
    "/admin/",
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
            admin.delete(f"/admin/item/delete?pks={item['id']}", headers=headers),
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
    assert policy == content_security_policy(img_src="'self' data:", font_src="'self'")
    assert "unsafe" not in policy
    assert not re.findall(r"<script>|<style|style=|\son\w+=", page.text)
    found = re.findall('(?:src|href|action)="(https?://[^/"]*)', page.text)
    assert set(found) <= {"http://localhost"}


async def test_links_behind_a_tls_proxy_begin_with_the_public_url(
    app: FastAPI, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.resources.settings, "public_url", "https://app.example.com")
    page = await admin.get("/admin/user/list")
    found = re.findall('(?:src|href|action)="(https?://[^/"]*)', page.text)
    assert set(found) == {"https://app.example.com"}


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
    return f'<td><a href="http://localhost/admin/{path}">{text}</a></td>'


async def test_foreign_key_is_a_link_with_the_name_of_the_record(
    admin: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    page = await admin.get("/admin/auth-session/list")
    for person in (root, ann):
        assert link_to(f"user/details/{person.id}", person.email) in page.text
    (path,) = re.findall(rf'"http://localhost(/admin/user/details/{ann.id})"', page.text)
    assert ann.email in (await admin.get(path)).text
    session = (await ann.client.get("/api/v1/auth/sessions")).json()[0]["id"]
    details = await admin.get(f"/admin/auth-session/details/{session}")
    assert link_to(f"user/details/{ann.id}", ann.email) in details.text


async def test_foreign_key_to_a_record_without_a_name_shows_the_key(
    admin: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserAdmin, "column_searchable_list", ("full_name", "email"))
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
    page = (await admin.get(f"/admin/user/details/{root.id}")).text
    assert re.findall(r'card-title">\s*(\S+?): \d+</h3>', page) == ["ID"]
    assert 'aria-label="닫기"' in page
    assert "This will permanently delete" not in page
    assert 'data-menu="메뉴"' in page
    page = (await admin.get("/admin/security-event/list")).text
    assert "<td>로그인 (sign_in)</td>" in page
    assert "<td>성공</td>" in page
