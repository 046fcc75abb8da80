import httpx
from fastapi import FastAPI

from tests.conftest import Person
from tests.features.webhooks.receiver import Receiver
from tests.features.webhooks.steps import make, record, resources_of, thing_event


async def test_admin_lists_webhooks_and_deliveries_without_secrets(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    for path in ("webhook/list", "webhook/details/1"):
        page = await admin.get(f"/admin/{path}")
        assert page.status_code == 200
        assert receiver.url in page.text
        assert webhook["secret"] not in page.text
        assert "sealed" not in page.text.lower()
    for path in ("webhook-delivery/list", "webhook-delivery/details/1"):
        page = await admin.get(f"/admin/{path}")
        assert page.status_code == 200
        assert "thing.created" in page.text
        assert "Lamp" not in page.text
    for path in ("webhook/create", "webhook/edit/1"):
        assert (await admin.get(f"/admin/{path}")).status_code == 403
