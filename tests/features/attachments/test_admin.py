import httpx
from fastapi import FastAPI

from tests.conftest import Person
from tests.features.attachments.steps import TEXT, attach
from tests.features.items.steps import make_item
from tests.pages import href_of


async def test_admin_lists_attachments_with_links(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await attach(ann, item, "<lamp>.txt")
    path = f"/items/{item['id']}/attachments"
    for page, file in (("list", "/admin/attachment/details/1"), ("details/1", f"{path}/1/file")):
        response = await admin.get(f"/admin/attachment/{page}")
        assert response.status_code == 200
        assert href_of(response, "&lt;lamp&gt;.txt") == file
        assert href_of(response, item["name"]) == f"/admin/item/details/{item['id']}"
    assert (await admin.get(f"{path}/1/file")).content == TEXT
    assert (await admin.get("/admin/attachment/create")).status_code == 403
