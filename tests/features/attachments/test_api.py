import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest
from fastapi import FastAPI

from app.core.storage import images
from app.features.attachments import service
from tests.conftest import Person
from tests.features.attachments.steps import (
    TEXT,
    attach,
    path_of,
    png,
    resources_of,
    stored_keys,
    upload,
)
from tests.features.items.steps import make_item


async def test_attachment_is_uploaded_listed_downloaded_and_deleted(
    app: FastAPI, ann: Person
) -> None:
    item = await make_item(ann)
    response = await upload(ann, item, "설명.txt")
    assert response.status_code == 201, response.text
    attachment = response.json()
    path = path_of(item, attachment)
    assert response.headers["Location"] == path
    assert (
        attachment.items()
        >= {
            "item_id": item["id"],
            "name": "설명.txt",
            "media_type": "text/plain",
            "size": len(TEXT),
            "sha256": sha256(TEXT).hexdigest(),
            "has_thumbnail": False,
            "thumbnail_status": "none",
        }.items()
    )
    assert (await ann.client.get(path_of(item))).json() == [attachment]
    assert (await ann.client.get(path)).json() == attachment
    download = await ann.client.get(f"{path}/file")
    assert download.content == TEXT
    assert download.headers["ETag"] == f'"{attachment["sha256"]}"'
    assert "filename*=UTF-8''%EC%84%A4" in download.headers["Content-Disposition"]
    assert "sandbox" in download.headers["Content-Security-Policy"]
    assert download.headers["X-Content-Type-Options"] == "nosniff"
    part = await ann.client.get(f"{path}/file", headers={"Range": "bytes=-5"})
    assert (part.status_code, part.content) == (206, TEXT[-5:])
    assert (await ann.client.get(f"{path}/thumbnail")).status_code == 404
    assert (await ann.client.delete(path)).status_code == 204
    assert (await ann.client.get(f"{path}/file")).status_code == 404
    await resources_of(app).jobs.drain()
    assert await stored_keys(app) == set()


async def test_file_that_is_deleted_before_it_is_read_returns_404(
    app: FastAPI, ann: Person
) -> None:
    """A deletion can come between a download's look at the row and at the file."""
    item = await make_item(ann)
    path = path_of(item, await attach(ann, item))
    await resources_of(app).storage.delete([*await stored_keys(app)])
    response = await ann.client.get(f"{path}/file")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")


async def test_image_gets_its_size_and_a_thumbnail(app: FastAPI, ann: Person) -> None:
    item = await make_item(ann)
    attachment = await attach(ann, item, "lamp.png", png(640, 320))
    await resources_of(app).jobs.drain()
    path = path_of(item, attachment)
    found = (await ann.client.get(path)).json()
    assert (found["width"], found["height"], found["has_thumbnail"]) == (640, 320, True)
    assert found["thumbnail_status"] == "ready"
    thumbnail = await ann.client.get(f"{path}/thumbnail")
    assert thumbnail.headers["Content-Type"] == "image/webp"
    assert thumbnail.content[8:12] == b"WEBP"


async def test_broken_image_is_kept_without_a_thumbnail(app: FastAPI, ann: Person) -> None:
    item = await make_item(ann)
    attachment = await attach(ann, item, "lamp.png", png()[:100])
    await resources_of(app).jobs.drain()
    found = (await ann.client.get(path_of(item, attachment))).json()
    assert (found["width"], found["has_thumbnail"]) == (None, False)
    assert (attachment["thumbnail_status"], found["thumbnail_status"]) == ("pending", "broken")


async def test_image_with_too_many_pixels_says_so(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    item = await make_item(ann)
    attachment = await attach(ann, item, "lamp.png", png())
    await resources_of(app).jobs.drain()
    found = (await ann.client.get(path_of(item, attachment))).json()
    assert found["thumbnail_status"] == "too_many_pixels"


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 422), (b"MZ\x90\x00\x03", 422), (b"x" * 10_485_761, 413)]
)
async def test_refused_file_is_not_stored(
    app: FastAPI, ann: Person, content: bytes, status: int
) -> None:
    item = await make_item(ann)
    assert (await upload(ann, item, content=content)).status_code == status
    assert (await ann.client.get(path_of(item))).json() == []
    assert await stored_keys(app) == set()


async def test_attachments_of_another_user_do_not_exist(
    app: FastAPI, ann: Person, bob: Person, root: Person
) -> None:
    item, other = await make_item(ann), await make_item(bob)
    attachment = await attach(ann, item)
    path = path_of(item, attachment)
    for response in (
        await upload(bob, item),
        await bob.client.get(path_of(item)),
        await bob.client.get(path),
        await bob.client.get(f"{path}/file"),
        await bob.client.get(f"{path}/thumbnail"),
        await bob.client.delete(path),
        await ann.client.get(path_of(other, attachment)),
        await bob.client.get(path_of(other, attachment)),
    ):
        assert response.status_code == 404
    assert len(await stored_keys(app)) == 1
    assert (await root.client.get(f"{path}/file")).content == TEXT


async def test_number_of_attachments_is_limited_also_at_once(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_PER_ITEM", 1)
    item = await make_item(ann)
    responses = await asyncio.gather(*(upload(ann, item) for _ in range(4)))
    assert sorted(each.status_code for each in responses) == [201, 409, 409, 409]
    assert len(await stored_keys(app)) == 1


async def test_upload_without_a_token_is_refused_before_the_body_is_read(
    client: httpx.AsyncClient, ann: Person
) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("The body was read")
        yield b""

    response = await client.post(
        path_of(await make_item(ann)),
        content=unread(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert response.status_code == 401


async def test_attachments_of_a_user_have_a_quota_also_at_once(
    app: FastAPI, ann: Person, bob: Person, root: Person
) -> None:
    quota = 3 * len(TEXT)
    resources = resources_of(app)
    settings = resources.settings.model_copy(update={"upload_quota_bytes": quota})
    app.state.resources = replace(resources, settings=settings)
    items = [await make_item(ann) for _ in range(4)]
    responses = await asyncio.gather(*(upload(ann, item) for item in items))
    assert sorted(each.status_code for each in responses) == [201, 201, 201, 409]
    (refused,) = (each for each in responses if each.status_code == 409)
    assert f"at most {quota} bytes" in refused.json()["detail"]
    assert len(await stored_keys(app)) == 3
    assert (await upload(root, items[0])).status_code == 409  # It is the owner's quota.
    assert (await upload(bob, await make_item(bob))).status_code == 201
    created = next(each.json() for each in responses if each.status_code == 201)
    path = path_of({"id": created["item_id"]}, created)
    assert (await ann.client.delete(path)).status_code == 204
    assert (await upload(ann, items[0])).status_code == 201
