"""The files of attachments whose rows are gone, or were never committed."""

from datetime import timedelta
from io import BytesIO

import pytest
from fastapi import FastAPI

from app.features.attachments import service
from app.features.attachments.jobs import (
    create_attachment_thumbnail,
    delete_orphaned_attachment_files,
)
from tests.conftest import Person, delete_account
from tests.features.attachments.steps import attach, png, resources_of, stored_keys
from tests.features.items.steps import make_item


async def test_files_of_a_deleted_item_or_account_are_deleted_after_a_day(
    app: FastAPI, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = resources_of(app)
    item, kept_item, bobs_item = await make_item(ann), await make_item(ann), await make_item(bob)
    await attach(ann, item, "lamp.png", png())
    await attach(ann, kept_item, "lamp.png", png())
    await attach(bob, bobs_item)
    await resources.jobs.drain()
    assert len(await stored_keys(app)) == 5
    await ann.client.delete(f"/api/v1/items/{item['id']}")
    assert (await delete_account(bob)).status_code == 204
    monkeypatch.setattr(service, "ORPHAN_AGE", timedelta(0))
    await delete_orphaned_attachment_files(resources)
    assert len(await stored_keys(app)) == 2
    assert (await ann.client.get(f"/api/v1/items/{kept_item['id']}/attachments/2/file")).is_success


async def test_new_file_without_a_row_is_kept(app: FastAPI, ann: Person) -> None:
    """Its row may be about to be committed."""
    resources = resources_of(app)
    await resources.storage.put("attachments/new", BytesIO(b"x"))
    await delete_orphaned_attachment_files(resources)
    assert await stored_keys(app) == {"attachments/new"}


async def test_thumbnail_of_a_deleted_attachment_is_not_made(app: FastAPI, ann: Person) -> None:
    await create_attachment_thumbnail(resources_of(app), 1)
    assert await stored_keys(app) == set()
