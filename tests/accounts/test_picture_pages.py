"""The picture in the menu and on the account page."""

import httpx
import pytest
from fastapi import FastAPI

from app.core.storage import images
from tests.accounts.steps import make_image, run_queued_jobs
from tests.conftest import Person, browser_of, sign_in

MENU = '<img class="portrait" src="/account/picture?v='
INITIALS = '<b translate="no" aria-hidden="true">A</b>'
pytestmark = pytest.mark.usefixtures("_no_files")


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def test_picture_replaces_the_initials_in_the_menu(
    app: FastAPI, browser: httpx.AsyncClient
) -> None:
    assert INITIALS in (await browser.get("/account")).text
    uploaded = await browser.post("/account/picture", files={"file": ("ann.png", make_image())})
    assert uploaded.status_code == 303, uploaded.text
    page = await browser.get("/account")
    assert "Picture uploaded." in page.text
    assert "Your new picture appears in a moment." in page.text
    assert INITIALS in page.text
    await run_queued_jobs(app)
    page = await browser.get("/account")
    assert INITIALS not in page.text
    source = page.text.partition(MENU)[2].partition('"')[0]
    picture = await browser.get(f"/account/picture?v={source}")
    assert picture.headers["Content-Type"] == "image/webp"
    removed = await browser.post("/account/picture/remove")
    assert removed.status_code == 303
    page = await browser.get("/account")
    assert "Picture removed." in page.text
    assert INITIALS in page.text
    assert (await browser.get("/account/picture")).status_code == 404


async def test_refused_file_shows_the_account_page_with_the_reason(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.post("/account/picture", files={"file": ("ann.txt", b"text")})
    assert page.status_code == 422
    assert "Files of this type are not accepted." in page.text


async def test_image_that_cannot_be_used_shows_the_reason_until_the_next_upload(
    app: FastAPI, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def upload(content: bytes) -> str:
        await browser.post("/account/picture", files={"file": ("ann.png", content)})
        await run_queued_jobs(app)
        return (await browser.get("/account")).text

    assert "The last image was not taken: the file cannot be read" in await upload(
        make_image()[:100]
    )
    assert "The last image was not taken" not in await upload(make_image())
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    assert "The last image was not taken: it has more than" in await upload(make_image())


async def test_picture_of_a_guest_is_not_read(app: FastAPI) -> None:
    async with browser_of(app) as guest:
        assert (await guest.get("/account/picture")).status_code == 303
        posted = await guest.post("/account/picture", files={"file": ("ann.png", make_image())})
        assert (posted.status_code, posted.headers["Location"]) == (303, "/login")
