"""The pages of webhooks."""

import re

import httpx
import pytest
from fastapi import FastAPI

from app.core.database.models import utc_now
from app.features.webhooks.service import webhooks
from tests.accounts.conftest import set_age
from tests.conftest import Person, browser_of, sign_in
from tests.features.webhooks.receiver import Receiver
from tests.features.webhooks.steps import (
    CREATED,
    DELETED,
    change_webhooks,
    make,
    read,
    record,
    resources_of,
    send,
    thing_event,
)


@pytest.fixture(autouse=True)
async def _signed_in(browser: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(browser, ann)


async def test_webhook_is_created_tested_changed_and_deleted(
    app: FastAPI, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    assert "No webhooks yet" in (await browser.get("/webhooks")).text
    assert f'name="{CREATED}"' in (await browser.get("/webhooks/new")).text
    form = {"url": receiver.url, "description": "<Index>", CREATED: "true", "is_enabled": "true"}
    page = await browser.post("/webhooks/new", data=form)
    assert page.status_code == 200, page.text
    (secret,) = re.findall("whsec_[A-Za-z0-9+/=]+", page.text)
    listed = await browser.get("/webhooks")
    assert "&lt;Index&gt;" in listed.text
    assert secret not in listed.text
    sent = await browser.post("/webhooks/1/test")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/webhooks/1/deliveries")
    assert "Pending" in (await browser.get("/webhooks/1/deliveries")).text
    await resources_of(app).jobs.drain()
    assert receiver.requests[0].verified(secret)["type"] == "webhook.test"
    page = await browser.get("/webhooks/1/deliveries?status=succeeded")
    assert "HTTP 204" in page.text
    assert (
        "No deliveries match." in (await browser.get("/webhooks/1/deliveries?status=failed")).text
    )
    details = await browser.get("/webhooks/1/deliveries/1")
    assert "webhook.test" in details.text
    edit = await browser.get("/webhooks/1/edit")
    assert re.search(rf'name="{CREATED}" type="checkbox" value="true" checked', edit.text)
    assert re.search(rf'name="{DELETED}" type="checkbox" value="true">', edit.text)
    changed = {"url": receiver.url, DELETED: "true", "version": "1"}
    saved = await browser.post("/webhooks/1/edit", data=changed)
    assert saved.status_code == 303, saved.text
    assert "Disabled" in (await browser.get("/webhooks")).text
    stale = await browser.post("/webhooks/1/edit", data=form | {"version": "1"})
    assert (stale.status_code, "This webhook has changed" in stale.text) == (409, True)
    assert "Delete this webhook?" in (await browser.get("/webhooks/1/delete")).text
    deleted = await browser.post("/webhooks/1/delete", data={"version": "2"})
    assert deleted.status_code == 303
    assert (await browser.get("/webhooks/1/edit")).status_code == 404


async def test_invalid_form_shows_the_reasons(
    browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    page = await browser.post("/webhooks/new", data={"url": "http://10.0.0.1/", CREATED: "true"})
    assert page.status_code == 422
    assert "The host of the address is not public." in page.text
    assert 'value="http://10.0.0.1/"' in page.text
    page = await browser.post("/webhooks/new", data={"url": receiver.url})
    assert "Choose at least one type of events." in page.text
    assert "Please fill this in." in (await browser.post("/webhooks/new", data={})).text


async def test_invalid_filter_shows_the_page_without_deliveries(
    browser: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    for query in ("status=lost", "cursor=forged"):
        page = await browser.get(f"/webhooks/1/deliveries?{query}")
        assert "Show all" in page.text


async def test_secret_is_replaced(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    assert "For 24 hours" in (await browser.get("/webhooks/1/secret")).text
    page = await browser.post("/webhooks/1/secret")
    (secret,) = re.findall("whsec_[A-Za-z0-9+/=]+", page.text)
    assert "The previous secret is valid until" in page.text
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    for each in (secret, webhook["secret"]):
        assert receiver.requests[0].verified(each)


async def test_old_session_asks_for_the_password_before_a_webhook_is_created_or_changed(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    await set_age(app, minutes=60)
    form = {"url": f"{receiver.url}/other", CREATED: "true", "version": "1"}
    for path in ("/webhooks/new", "/webhooks/1/edit", "/webhooks/1/secret"):
        page = await browser.post(path, data=form)
        assert (page.status_code, "current_password" in page.text) == (403, True)
    webhook.pop("secret")
    assert await read(ann, webhook) == webhook


async def test_failed_delivery_is_sent_again(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    receiver.responses = [500, 410]
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    page = await browser.get("/webhooks/1/deliveries")
    assert "HTTP 500" in page.text
    assert "Next attempt" in page.text
    assert "Nothing was accepted since" in page.text
    again = await browser.post("/webhooks/1/deliveries/1/send")
    assert again.status_code == 303
    await send(app)
    page = await browser.get("/webhooks/1/deliveries")
    assert "gone for good (410)" in page.text
    for path in ("test", "deliveries/1/send"):
        refused = await browser.post(f"/webhooks/1/{path}")
        assert (refused.status_code, "Enable it first." in refused.text) == (409, True)


async def test_pages_of_another_users_webhook_return_404(
    app: FastAPI, bob: Person, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    await make(bob, receiver.url)
    await record(app, thing_event(bob.id))
    form = {"url": receiver.url, CREATED: "true", "version": "1"}
    for path in ("edit", "delete", "secret", "deliveries", "deliveries/1"):
        assert (await browser.get(f"/webhooks/1/{path}")).status_code == 404
    for path in ("edit", "delete", "secret", "test", "deliveries/1/send"):
        assert (await browser.post(f"/webhooks/1/{path}", data=form)).status_code == 404
    async with browser_of(app) as guest:
        for path in ("/webhooks", "/webhooks/1/deliveries"):
            assert (await guest.get(path)).status_code == 303


async def test_page_shows_the_dropped_events(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    await change_webhooks(app, dropped_events=1200, last_dropped_at=utc_now())
    for path in ("deliveries", "edit"):
        page = await browser.get(f"/webhooks/1/{path}")
        assert "1,200 events were not sent, since too many deliveries were waiting." in page.text
    await ann.client.patch("/api/v1/webhooks/1", json={"is_enabled": True})
    assert "not sent, since" not in (await browser.get("/webhooks/1/edit")).text


async def test_sends_beyond_the_limit_show_the_page_with_the_reason(
    browser: httpx.AsyncClient, ann: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "SENDS_PER_MINUTE", 1)
    await make(ann, receiver.url)
    assert (await browser.post("/webhooks/1/test")).status_code == 303
    for path in ("test", "deliveries/1/send"):
        page = await browser.post(f"/webhooks/1/{path}")
        assert page.status_code == 429
        assert "Too many requests. Try again in" in page.text
        assert "Retry-After" in page.headers
