import httpx
from fastapi import FastAPI

from tests.conftest import Person
from tests.features.attachments.steps import TEXT, attach
from tests.features.items.steps import make_item


async def test_admin_lists_attachments_with_links(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    item = await make_item(ann)
    await attach(ann, item, "<lamp>.txt")
    for page in ("list", "details/1"):
        response = await admin.get(f"/admin/attachment/{page}")
        assert response.status_code == 200
        path = f"/items/{item['id']}/attachments"
        assert f'<a href="{path}/1/file">&lt;lamp&gt;.txt</a>' in response.text
        link = f'<a href="http://localhost/admin/item/details/{item["id"]}">{item["name"]}</a>'
        assert link in response.text
    assert (await admin.get(f"{path}/1/file")).content == TEXT
    assert (await admin.get("/admin/attachment/create")).status_code == 403
