import logging

import httpx
import pytest
from fastapi import FastAPI

from app.core.errors import Forbidden, TooManyRequests, Unavailable
from tests.conftest import PASSWORD
from tests.core.http.problems import assert_is_problem
from tests.slices import needs

ERRORS = {
    "forbidden": (Forbidden("Not for you."), 403, "Not for you."),
    "limited": (TooManyRequests("login", 10, 60, 42), 429, "Try again in 42 seconds"),
    "bug": (ZeroDivisionError("the secret inside"), 500, "Quote the request ID"),
    "unavailable": (
        Unavailable("The database is not reachable."),
        503,
        "does not work at the moment",
    ),
}


@pytest.fixture(autouse=True)
def _failing_routes(app: FastAPI) -> None:
    @app.get("/fails/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name][0]


def assert_is_page(response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-ID"] in response.text
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert f'<p class="status">{status}</p>' in response.text


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_are_shown_as_pages(browser: httpx.AsyncClient, name: str) -> None:
    response = await browser.get(f"/fails/{name}")
    _, status, words = ERRORS[name]
    assert_is_page(response, status)
    assert words in response.text
    assert "secret" not in response.text
    assert "database" not in response.text
    assert ("Try again</a>" in response.text) == (status in (429, 500, 503))
    assert response.headers.get("Retry-After") == {429: "42", 503: "5"}.get(status)


async def test_unknown_page_returns_404(browser: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/%00", "/items/7/", "/<script>alert(1)</script>"):
        response = await browser.get(path)
        assert_is_page(response, 404)
        assert "<script>" not in response.text


async def test_plain_text_error_is_shown_as_a_page(browser: httpx.AsyncClient) -> None:
    assert_is_page(await browser.get("/", headers={"Host": "evil.example"}), 400)
    assert_is_page(await browser.post("/login", content=b"x" * 2_000_000), 413)
    assert_is_page(await browser.request("DELETE", "/docs"), 405)


async def test_compressed_problem_is_shown_as_a_page(
    app: FastAPI, browser: httpx.AsyncClient
) -> None:
    @app.get("/long")
    async def long() -> None:
        raise Forbidden("x" * 5000)

    response = await browser.get("/long", headers={"Accept-Encoding": "gzip"})
    assert_is_page(response, 403)


@needs("items")
async def test_api_returns_problem_documents(
    browser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    assert_is_problem(await browser.get("/api/v1/nowhere"), 404)
    assert_is_problem(await browser.get("/api/v1/items"), 401)
    assert_is_problem(await client.get("/nowhere"), 404)
    assert_is_problem(await client.get("/nowhere", headers={"Accept": "application/json"}), 404)


async def test_access_log_has_the_status_of_the_page(
    browser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await browser.post("/login", data={"email": "a", "password": PASSWORD})
    response = await browser.head("/nowhere")
    assert response.status_code == 404
    seen = [each.__dict__["status"] for each in caplog.records if each.name == "app.access"]
    assert seen == [422, 404]
