"""The picture of an account: uploaded, made small by a job, shown to its owner, deleted."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import select

from app.accounts.jobs import create_picture, delete_orphaned_picture_files
from app.accounts.models import User
from app.accounts.service import pictures
from app.core.jobs.queue import QueuedJob
from app.core.storage import images
from app.core.storage.images import make_thumbnail
from tests.accounts.steps import make_image, run_queued_jobs
from tests.conftest import Person, delete_account

PICTURE = "/api/v1/users/me/picture"
pytestmark = pytest.mark.usefixtures("_no_files")


async def upload(person: Person, content: bytes, name: str = "ann.png") -> httpx.Response:
    return await person.client.put(PICTURE, files={"file": (name, content)})


async def stored_keys(app: FastAPI) -> set[str]:
    pages = app.state.resources.storage.list("pictures")
    return {each.key async for page in pages for each in page}


async def stored_user(app: FastAPI, person: Person) -> Any:
    async with app.state.resources.database.reading() as session:
        return await session.scalar(select(User).where(User.id == person.id))


def color_of(content: bytes) -> tuple[Any, ...]:
    with Image.open(BytesIO(content), formats=["WEBP"]) as picture:
        pixel = picture.convert("RGB").getpixel((1, 1))
        assert isinstance(pixel, tuple)
        return pixel


async def test_picture_is_uploaded_made_small_and_removed(app: FastAPI, ann: Person) -> None:
    assert (await ann.client.get(PICTURE)).status_code == 404
    response = await upload(ann, make_image())
    assert (response.status_code, response.content) == (202, b"")
    assert (await ann.client.get(PICTURE)).status_code == 404
    await run_queued_jobs(app)
    picture = await ann.client.get(PICTURE)
    assert picture.headers["Content-Type"] == "image/webp"
    with Image.open(BytesIO(picture.content)) as small:
        assert small.size == (320, 160)
    etag = {"If-None-Match": picture.headers["ETag"]}
    assert (await ann.client.get(PICTURE, headers=etag)).status_code == 304
    assert len(await stored_keys(app)) == 1  # The upload itself is not kept.
    for _ in range(2):
        assert (await ann.client.delete(PICTURE)).status_code == 204
    assert (await ann.client.get(PICTURE)).status_code == 404
    await run_queued_jobs(app)
    assert await stored_keys(app) == set()


async def test_metadata_of_a_photo_is_not_kept(app: FastAPI, ann: Person) -> None:
    file, exif = BytesIO(), Image.Exif()
    exif[0x010E] = "At home"
    Image.new("RGB", (64, 64)).save(file, "JPEG", exif=exif)
    assert b"At home" in file.getvalue()
    await upload(ann, file.getvalue(), "ann.jpg")
    await run_queued_jobs(app)
    assert b"At home" not in (await ann.client.get(PICTURE)).content


async def test_last_of_several_uploads_becomes_the_picture(app: FastAPI, ann: Person) -> None:
    for color in ("red", "lime", "blue"):
        await upload(ann, make_image(color))
    await run_queued_jobs(app)
    red, green, blue = color_of((await ann.client.get(PICTURE)).content)
    assert (red < 50, green < 50, blue > 200) == (True, True, True)
    await upload(ann, make_image("red"))
    await run_queued_jobs(app)
    assert color_of((await ann.client.get(PICTURE)).content)[0] > 200
    assert len(await stored_keys(app)) == 1


async def test_upload_that_was_removed_does_not_become_the_picture(
    app: FastAPI, ann: Person
) -> None:
    await upload(ann, make_image())
    await ann.client.delete(PICTURE)
    await run_queued_jobs(app)
    assert (await ann.client.get(PICTURE)).status_code == 404
    assert await stored_keys(app) == set()


async def test_removal_during_the_job_wins(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def make_and_remove(content: bytes) -> Any:
        thumbnail = await make_thumbnail(content)
        assert (await ann.client.delete(PICTURE)).status_code == 204
        return thumbnail

    monkeypatch.setattr(pictures, "make_thumbnail", make_and_remove)
    await upload(ann, make_image())
    await run_queued_jobs(app)
    assert (await ann.client.get(PICTURE)).status_code == 404
    assert await stored_keys(app) == set()


async def picture_status(person: Person) -> str:
    status: str = (await person.client.get("/api/v1/users/me")).json()["picture_status"]
    return status


async def test_status_of_a_picture_follows_the_last_upload(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await picture_status(ann) == "none"
    for content, expected in ((make_image()[:100], "broken"), (make_image(), "ready")):
        await upload(ann, content)
        assert await picture_status(ann) == "pending"
        await run_queued_jobs(app)
        assert await picture_status(ann) == expected
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    await upload(ann, make_image())
    await run_queued_jobs(app)
    assert await picture_status(ann) == "too_many_pixels"
    await ann.client.delete(PICTURE)
    assert await picture_status(ann) == "none"


async def test_broken_image_changes_nothing(app: FastAPI, ann: Person) -> None:
    await upload(ann, make_image())
    await run_queued_jobs(app)
    before = (await ann.client.get(PICTURE)).content
    assert (await upload(ann, make_image("red")[:100])).status_code == 202
    await run_queued_jobs(app)
    assert (await ann.client.get(PICTURE)).content == before
    assert (await stored_user(app, ann)).picture_upload_key is None
    assert len(await stored_keys(app)) == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"text", 422), (b"%PDF-1.7\n", 422), (b"<svg/>", 422), (b"x" * 10_485_761, 413)],
    ids=["empty", "text", "pdf", "svg", "large"],
)
async def test_other_file_is_refused(
    app: FastAPI, ann: Person, content: bytes, status: int
) -> None:
    assert (await upload(ann, content)).status_code == status
    assert await stored_keys(app) == set()


async def test_job_that_runs_again_changes_nothing(app: FastAPI, ann: Person) -> None:
    await upload(ann, make_image())
    key = (await stored_user(app, ann)).picture_upload_key
    await run_queued_jobs(app)
    picture = await ann.client.get(PICTURE)
    await create_picture(app.state.resources, ann.id, key, 1000)
    await create_picture(app.state.resources, 999, key, 1000)
    assert (await ann.client.get(PICTURE)).content == picture.content


async def test_picture_is_deleted_with_the_account(
    app: FastAPI, ann: Person, bob: Person, root: Person
) -> None:
    for person in (ann, bob):
        await upload(person, make_image())
    await run_queued_jobs(app)
    await upload(bob, make_image("red"))
    assert len(await stored_keys(app)) == 3
    assert (await delete_account(ann)).status_code == 204
    assert (await root.client.delete(f"/api/v1/users/{bob.id}")).status_code == 204
    await run_queued_jobs(app)
    assert await stored_keys(app) == set()
    async with app.state.resources.database.reading() as session:
        assert (await session.scalars(select(QueuedJob))).all() == []


async def test_file_without_an_account_is_deleted_after_a_day(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = app.state.resources
    await upload(ann, make_image())
    await run_queued_jobs(app)
    await upload(ann, make_image("red"))
    await resources.storage.put("pictures/lost", BytesIO(b"x"))
    await delete_orphaned_picture_files(resources)
    assert len(await stored_keys(app)) == 3
    monkeypatch.setattr(pictures, "ORPHAN_AGE", timedelta(0))
    await delete_orphaned_picture_files(resources)
    keys = await stored_keys(app)
    assert (len(keys), "pictures/lost" in keys) == (2, False)


async def test_picture_needs_the_scope_of_the_account(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for response in (
        await client.get(PICTURE),
        await client.put(PICTURE, files={"file": ("ann.png", make_image())}),
        await client.delete(PICTURE),
    ):
        assert response.status_code == 401
