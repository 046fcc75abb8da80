"""The language of a page: the visitor's choice, or else the browser's."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.translation import languages
from tests.conftest import PASSWORD, browser_of, sign_in
from tests.slices import needs

KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}
pytestmark = pytest.mark.skipif("ko" not in languages(), reason="The Korean catalog was deleted")


def language_of(page: httpx.Response) -> str:
    (tag,) = re.findall('<html lang="([^"]+)"', page.text)
    assert page.headers["Content-Language"] == tag
    assert {"Accept-Language", "Cookie"} <= set(page.headers["Vary"].split(", "))
    return str(tag)


async def test_page_is_in_the_language_of_the_browser(browser: httpx.AsyncClient) -> None:
    assert language_of(await browser.get("/login")) == "en"
    page = await browser.get("/login", headers=KOREAN)
    assert language_of(page) == "ko"
    assert "로그인" in page.text
    assert "Sign in" not in page.text
    error = await browser.get("/nowhere", headers=KOREAN)
    assert language_of(error) == "ko"
    assert "찾을 수 없음" in error.text


async def test_chosen_language_is_kept(browser: httpx.AsyncClient) -> None:
    form = {"language": "ko", "page": "/login?next=/account"}
    chosen = await browser.post("/language", data=form)
    assert chosen.headers["Location"] == form["page"]
    assert "Max-Age=31536000" in chosen.headers["Set-Cookie"]
    assert language_of(await browser.get("/login")) == "ko"
    await browser.post("/language", data=form | {"language": "en"})
    assert language_of(await browser.get("/login", headers=KOREAN)) == "en"


@pytest.mark.parametrize("language", ["", "tlh", "../ko", '"><script>'])
async def test_unknown_language_is_not_stored(browser: httpx.AsyncClient, language: str) -> None:
    form = {"language": language, "page": "//evil.example"}
    refused = await browser.post("/language", data=form)
    assert refused.headers["Location"] == "/"
    assert "Set-Cookie" not in refused.headers


async def test_errors_of_a_form_are_translated(browser: httpx.AsyncClient) -> None:
    form = {"email": "ann", "password": "short"}
    page = await browser.post("/signup", data=form, headers=KOREAN)
    assert "ann@example.com과 같은 이메일 주소를 입력하세요." in page.text
    assert "10자 이상이어야 합니다." in page.text
    form = {"email": "ann@example.com", "password": PASSWORD}
    page = await browser.post("/login", data=form, headers=KOREAN)
    assert "이메일 주소 또는 비밀번호가 올바르지 않습니다." in page.text


async def test_api_answers_in_english(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/users/me", headers=KOREAN)
    assert response.json()["title"] == "Not authenticated"


async def test_mail_is_in_the_language_of_the_request(app: FastAPI) -> None:
    sent = list[str]()

    async def send(to: str, template: str, **context: Any) -> None:
        sent.append(app.state.resources.mailer._compose(to, template, context)["Subject"])

    app.state.resources.mailer.send = send
    async with browser_of(app, **KOREAN) as browser:
        form = {"email": "kim@example.com", "password": PASSWORD}
        assert (await browser.post("/signup", data=form)).status_code == 303
    await app.state.resources.jobs.drain()
    assert sent == ["이메일 주소 확인"]


@needs("admin.py")
async def test_admin_is_translated(app: FastAPI, root: Any) -> None:
    async with browser_of(app, **KOREAN) as browser:
        await sign_in(browser, root)
        page = await browser.get("/admin/user/list")
        assert "<h1>사용자</h1>" in page.text
        page = await browser.get("/admin/user/create")
        assert ">저장</button>" in page.text
        form = {"email": "new@example.com", "password": PASSWORD}
        saved = await browser.post("/admin/user/create", data=form)
        assert saved.headers["Location"].endswith("/admin/user/list")
