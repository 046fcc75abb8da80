"""Messages that the next page shows, once."""

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from app.web.flash import flash

HOSTILE = "<script>{0} \N{OWL}" + "x" * 300


@pytest.fixture(autouse=True)
def _flashing_route(app: FastAPI) -> None:
    @app.post("/flash")
    async def leave_message(request: Request) -> Response:
        return flash(request, "/login", "“{title}” saved.", title=HOSTILE)


async def test_message_is_shown_once_and_escaped(browser: httpx.AsyncClient) -> None:
    sent = await browser.post("/flash")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/login")
    page = await browser.get("/login")
    assert "“&lt;script&gt;{0} \N{OWL}xxx" in page.text
    assert "x" * 80 not in page.text
    assert "saved." not in (await browser.get("/login")).text


async def test_message_is_left_for_the_page_when_a_script_reloads_another(
    browser: httpx.AsyncClient,
) -> None:
    await browser.post("/flash")
    assert (
        "saved."
        not in (await browser.get("/login", headers={"X-Requested-With": "XMLHttpRequest"})).text
    )
    assert "saved." in (await browser.get("/login")).text


@pytest.mark.parametrize("change", ["x{}", "{}x", "é", ".", "{}.{}", "", "W10="])
async def test_message_that_is_not_signed_is_not_shown(
    browser: httpx.AsyncClient, change: str
) -> None:
    sent = await browser.post("/flash")
    value = sent.cookies["flash"]
    browser.cookies.clear()
    cookie = f"flash={change.replace('{}', value)}".encode()
    page = await browser.get("/login", headers=[(b"Cookie", cookie)])
    assert (page.status_code, "saved." in page.text) == (200, False)
