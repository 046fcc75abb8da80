"""Tests of the policy headers of each kind of response."""

import asyncio

import httpx
import pytest

from app.core.security.policy_headers import content_security_policy
from app.main import create_app
from tests.conftest import Person, client_of, make_settings, sign_in
from tests.slices import needs

PAGES = ["/", "/login", "/signup", "/nowhere", "/static/style.css", "/openapi.json"]


def directives(response: httpx.Response) -> dict[str, str]:
    parts = response.headers["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


@pytest.mark.parametrize("path", PAGES)
async def test_policy_of_pages_forbids_inline_and_foreign_code(
    browser: httpx.AsyncClient, path: str
) -> None:
    response = await browser.get(path)
    assert response.headers["Content-Security-Policy"] == content_security_policy()
    policy = directives(response)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in str(policy)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response.headers["Permissions-Policy"]


async def test_api_responses_have_few_policy_headers(
    client: httpx.AsyncClient, ann: Person
) -> None:
    for response in (
        await ann.client.get("/api/v1/items"),
        await client.get("/api/v1/items"),
        await client.get("/api/v1/nowhere"),
        await client.post("/api/v1/items", headers={"Content-Length": "9999999"}),
    ):
        policy = "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["Content-Security-Policy"] == policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Permissions-Policy" not in response.headers


@needs("items")
async def test_response_to_a_user_is_not_stored(client: httpx.AsyncClient, ann: Person) -> None:
    item = await ann.client.post("/api/v1/items", json={"name": "Lamp", "price": 1})
    url = item.headers["Location"]
    for response in (
        item,
        await ann.client.get(url),
        await ann.client.get(url, headers={"If-None-Match": '"1"'}),
        await ann.client.get("/api/v1/items/0"),
        await ann.client.get("/api/v1/users"),
        await ann.client.get("/api/v1/items/export"),
    ):
        assert response.headers["Cache-Control"] == "no-store", response.request.url
    assert (await client.get("/health/live")).headers.get("Cache-Control") != "no-store"


@needs("items", "pages.py")
async def test_page_for_a_user_is_not_stored(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)
    for response in (
        await browser.get("/items"),
        await browser.get("/items/export?format=csv"),
        await browser.get("/login"),
        await browser.post("/account", data={"full_name": "Ann"}),
    ):
        assert response.headers["Cache-Control"] == "no-store", response.request.url
    assert (await browser.get("/static/style.css")).headers["Cache-Control"] != "no-store"


async def test_swagger_ui_allows_inline_images_only(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/docs")
    changed = {"img-src": "'self' data:"}
    assert directives(page) == directives(await browser.get("/problems")) | changed
    assert "<script>" not in page.text


async def test_redoc_allows_inline_styles_and_workers_only(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get("/redoc")
    changed = {
        "style-src": "'self' 'unsafe-inline'",
        "worker-src": "blob:",
        "img-src": "'self' data:",
    }
    assert directives(page) == directives(await browser.get("/problems")) | changed
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    ("environment", "public_url", "expected"),
    [
        ("test", "https://example.com", "max-age=31536000"),
        ("test", "http://127.0.0.1:8000", None),
        ("local", "https://example.com", None),
    ],
)
async def test_strict_transport_security_requires_https(
    environment: str, public_url: str, expected: str | None
) -> None:
    changes = {"environment": environment, "public_url": public_url}
    app = await asyncio.to_thread(create_app, make_settings("sqlite+aiosqlite:///x", **changes))
    async with client_of(app) as client:
        for path in ("/docs", "/api/v1/nowhere"):
            response = await client.get(path)
            assert response.headers.get("Strict-Transport-Security") == expected
