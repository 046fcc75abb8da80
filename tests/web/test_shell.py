"""The parts that all pages share."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.core.about import DESCRIPTION
from app.core.translation import gettext, use_language
from app.discovery import folders
from app.web import assets, rendering
from app.web.navigation import local_path
from tests.conftest import Person, browser_of, make_settings, running, sign_in
from tests.slices import needs

TEMPLATES = [
    path for folder in (rendering.FOLDER, *folders("templates")) for path in folder.glob("*.html")
]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_inline_scripts_or_styles(path: Path) -> None:
    html = path.read_text()
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|\|safe", html)
    for script in re.findall("<script[^>]*>", html):
        assert "src=" in script


def test_style_and_script_are_small() -> None:
    assert len((assets.FOLDER / "style.css").read_text().splitlines()) < 400
    for script in ("script.js", "list.js"):
        assert len((assets.FOLDER / script).read_text().splitlines()) < 200


async def test_static_files_are_cached_by_version(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert {Path(link).suffix.partition("?")[0] for link in links} == {".css", ".js", ".svg"}
    for link in links:
        asset = await browser.get(link)
        assert asset.status_code == 200
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        unchanged = await browser.get(link, headers={"If-None-Match": asset.headers["ETag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        old = await browser.get(link.partition("?")[0], params={"v": "old"})
        assert (old.content, old.headers["Cache-Control"]) == (asset.content, "no-cache")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("favicon.svg", "image/svg+xml"),
        ("style.css", "text/css; charset=utf-8"),
        ("script.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_file_has_its_media_type(
    browser: httpx.AsyncClient, name: str, media_type: str
) -> None:
    assert (await browser.get(f"/static/{name}")).headers["Content-Type"] == media_type


@pytest.mark.parametrize("name", ["nothing.css", "..%2Fassets.py", "../assets.py", "%00"])
async def test_unknown_static_file_returns_404(browser: httpx.AsyncClient, name: str) -> None:
    assert (await browser.get(f"/static/{name}")).status_code == 404


async def test_favicon_is_served(browser: httpx.AsyncClient) -> None:
    icon = await browser.get("/favicon.ico")
    assert (icon.status_code, icon.headers["Content-Type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize(
    ("theme", "attribute"),
    [
        ("dark", ' data-theme="dark"'),
        ("light", ' data-theme="light"'),
        ('"><script>', ""),
        ("", ""),
    ],
)
async def test_theme_is_remembered(browser: httpx.AsyncClient, theme: str, attribute: str) -> None:
    page = await browser.get("/", headers={"Cookie": f"theme={theme}"})
    assert f'<html lang="en" dir="ltr" data-root="/"{attribute}>' in page.text


async def test_links_are_those_of_enabled_features(
    database_url: str, browser: httpx.AsyncClient
) -> None:
    page = await browser.get("/")
    links = set(re.findall(r'<a[^>]* href="(/[^"]+)"', page.text))
    assert {"/docs", "/redoc", "/login", "/signup"} <= links
    for link in links:
        assert (await browser.get(link, follow_redirects=True)).status_code == 200
    closed = make_settings(database_url, signup_enabled=False)
    async with running(closed) as app, browser_of(app) as other:
        for path in ("/", "/login"):
            assert "/signup" not in (await other.get(path)).text


@pytest.mark.parametrize("path", ["/", "/items", "/items?q=a&sort=-name#x", "/käse", "/a%20b"])
def test_local_path_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/a\\b",
        "https://evil.example", "https:evil.example", "javascript:alert(1)", "data:text/html,x",
        "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/\x00",
        "/%2Fevil.example", "/%5Cevil.example", "%2F%2Fevil.example", "/%252Fevil.example",
        "/%09/evil.example", "/%0D%0ASet-Cookie:a=b", "evil.example", "@evil.example",
        "/\u2028x", "/\ufeff/x", "", None, "/" + "x" * 2000,
    ],
)  # fmt: skip
def test_path_of_another_site_is_replaced(path: str | None) -> None:
    assert local_path(path) == "/"


@needs("items", "admin.py")
async def test_menu_and_section_are_shown_on_subpages_and_error_pages(
    browser: httpx.AsyncClient, root: Person
) -> None:
    guest = await browser.get("/items/nowhere")
    assert 'href="/login"' in guest.text
    await sign_in(browser, root)
    for path, status in (("/items/new", 200), ("/items/nowhere", 404)):
        page = await browser.get(path)
        assert page.status_code == status
        assert '<a href="/items" aria-current="page">Items</a>' in page.text
        assert f"<bdi>{root.email}</bdi>" in page.text
        for words in ("Account</a>", "Admin</a>", '<button class="link">Sign out</button>'):
            assert words in page.text


async def test_page_has_a_description_for_search_engines(app: FastAPI) -> None:
    for tag in ("en", "ko"):
        async with browser_of(app, **{"Accept-Language": tag}) as browser:
            page = await browser.get("/")
        with use_language(tag):
            words = gettext(DESCRIPTION)
        (found,) = re.findall('<meta name="description" content="([^"]+)">', page.text)
        assert found.startswith(words)
