"""The pages of attachments."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.storage import images
from app.features.attachments.models import Attachment
from tests.conftest import Person, browser_of, only, sign_in
from tests.features.attachments.steps import TEXT, attach, png, resources_of
from tests.features.items.steps import make_item
from tests.pages import href_of
from tests.waiting import until_blocked


@pytest.fixture
async def item(browser: httpx.AsyncClient, ann: Person) -> dict[str, Any]:
    await sign_in(browser, ann)
    item: dict[str, Any] = await make_item(ann)
    return item


async def test_file_is_uploaded_downloaded_and_deleted(
    browser: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    edit = await browser.get(f"/items/{item['id']}/edit")
    path = href_of(edit, "Attachments")
    assert "This item has no attachments." in (await browser.get(path)).text
    uploaded = await browser.post(path, files={"file": ("<lamp>.txt", TEXT)})
    assert uploaded.status_code == 303, uploaded.text
    page = await browser.get(uploaded.headers["Location"])
    assert "“&lt;lamp&gt;.txt” uploaded." in page.text
    download = await browser.get(href_of(page, "<bdi>&lt;lamp&gt;.txt</bdi>"))
    assert download.content == TEXT
    assert download.headers.get_list("Content-Security-Policy") == [
        "default-src 'none'; frame-ancestors 'none'; sandbox"
    ]
    delete = href_of(page, "Delete…")
    assert '<button class="danger">Delete</button>' in (await browser.get(delete)).text
    deleted = await browser.post(delete)
    page = await browser.get(deleted.headers["Location"])
    assert "Attachment deleted." in page.text
    assert "This item has no attachments." in page.text


async def test_deletion_of_items_says_that_attachments_are_deleted(
    browser: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    for page in (f"/items/{item['id']}/delete", f"/items/delete?select-{item['id']}=1"):
        assert "<p>Attachments are deleted too." in (await browser.get(page)).text


async def test_deletion_of_an_item_with_attachments_cannot_be_undone(
    browser: httpx.AsyncClient, ann: Person, item: dict[str, Any]
) -> None:
    await attach(ann, item, "lamp.txt", TEXT)
    other = await make_item(ann)
    selection = {f"select-{each['id']}": "1" for each in (item, other)}
    assert (await browser.post("/items/delete", data=selection)).status_code == 303
    page = (await browser.get("/items")).text
    assert ("2 deleted." in page, "Undo" in page) == (True, False)


@only("postgresql")
async def test_deletion_waits_for_an_attachment_that_is_being_added(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, item: dict[str, Any]
) -> None:
    async with resources_of(app).database.transaction() as session:
        attachment = Attachment(item_id=item["id"], owner_id=ann.id, key="x", name="x", size=1)
        attachment.media_type, attachment.sha256 = "text/plain", "x"
        session.add(attachment)
        await session.flush()
        deletion = asyncio.create_task(
            browser.post(f"/items/{item['id']}/delete", data={"version": "1"})
        )
        await until_blocked(app)
    assert (await deletion).status_code == 303
    page = (await browser.get("/items")).text
    assert ("deleted." in page, "Undo" in page) == (True, False)


async def test_thumbnail_of_an_image_is_shown(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, item: dict[str, Any]
) -> None:
    await attach(ann, item, "lamp.png", png())
    await resources_of(app).jobs.drain()
    page = await browser.get(f"/items/{item['id']}/attachments")
    path = f"/items/{item['id']}/attachments/1/thumbnail"
    assert f'<img src="{path}"' in page.text
    assert (await browser.get(path)).headers["Content-Type"] == "image/webp"


async def test_image_without_a_thumbnail_shows_the_reason(
    app: FastAPI,
    browser: httpx.AsyncClient,
    ann: Person,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await attach(ann, item, "broken.png", png()[:100])
    await resources_of(app).jobs.drain()
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    await attach(ann, item, "large.png", png())
    await resources_of(app).jobs.drain()
    page = await browser.get(f"/items/{item['id']}/attachments")
    assert "There is no preview: the image cannot be read." in page.text
    assert "There is no preview: the image has too many pixels." in page.text


async def test_refused_file_shows_the_page_with_the_reason(
    browser: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    path = f"/items/{item['id']}/attachments"
    page = await browser.post(path, files={"file": ("lamp.png", b"MZ\x90\x00")})
    assert page.status_code == 422
    assert "Files of this type are not accepted." in page.text
    page = await browser.post(path, files={"file": ("", b"")})  # No file was chosen.
    assert "Choose a file that is not empty." in page.text


async def test_pages_of_another_users_item_return_404(
    browser: httpx.AsyncClient, bob: Person, item: dict[str, Any]
) -> None:
    other = await make_item(bob)
    await attach(bob, other)
    path = f"/items/{other['id']}/attachments"
    for page in ("", "/1/file", "/1/thumbnail", "/1/delete"):
        assert (await browser.get(f"{path}{page}")).status_code == 404
    for page in ("", "/1/delete"):
        form = {"file": ("lamp.txt", TEXT)}
        assert (await browser.post(f"{path}{page}", files=form)).status_code == 404


async def test_upload_of_a_guest_is_not_read(
    app: FastAPI, item: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("starlette.requests.Request.form")
    async with browser_of(app) as guest:
        form, file = {"form_owner": "1"}, {"file": ("lamp.txt", TEXT)}
        response = await guest.post(f"/items/{item['id']}/attachments", data=form, files=file)
    assert (response.status_code, response.headers["Location"]) == (303, "/login")
