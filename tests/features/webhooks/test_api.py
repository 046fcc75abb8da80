"""The API of webhooks: owners manage their own."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from limits import parse
from standardwebhooks import Webhook as Signer

from app.core.errors import Invalid
from app.features.webhooks import dependencies
from app.features.webhooks.events import event_scopes
from app.features.webhooks.models import Webhook
from app.features.webhooks.schemas import WebhookCreate
from app.features.webhooks.service import addresses, webhooks
from app.features.webhooks.service.addresses import AddressRules
from tests.accounts.conftest import CONFIRM, set_age
from tests.accounts.steps import make_api_key, sign_in_to_api
from tests.conftest import PASSWORD, Person, client_of, make_settings, running
from tests.features.webhooks.receiver import Receiver
from tests.features.webhooks.steps import (
    CREATED,
    DELETED,
    TYPES,
    WEBHOOKS,
    deliveries,
    make,
    read,
    record,
    resources_of,
    stored,
    thing_event,
)
from tests.slices import needs

URL = "http://127.0.0.1:9/hook"
DECLARED = event_scopes()


async def test_webhook_is_created_read_changed_and_deleted(app: FastAPI, ann: Person) -> None:
    body = {"url": URL, "event_types": [DELETED, CREATED, CREATED], "description": "Index"}
    response = await ann.client.post(WEBHOOKS, json=body)
    assert response.status_code == 201, response.text
    created = response.json()
    secret = created.pop("secret")
    path = f"{WEBHOOKS}/{created['id']}"
    assert response.headers["Location"] == path
    assert created["event_types"] == [CREATED, DELETED]
    assert (created["is_enabled"], created["version"]) == (True, 1)
    assert (await ann.client.get(path)).json() == created
    page = (await ann.client.get(WEBHOOKS, params={"with_total": True})).json()
    assert page == {"results": [created], "next": None, "total": 1}
    (row,) = await stored(app, Webhook)
    assert secret.startswith("whsec_")
    assert secret not in row.sealed_secret
    changes = {"is_enabled": False, "event_types": [DELETED]}
    changed = await ann.client.patch(path, json=changes, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert changed.json().items() >= (changes | {"version": 2, "description": "Index"}).items()
    stale = await ann.client.patch(path, json=changes, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    replaced = (await ann.client.put(path, json={"url": URL, "event_types": [CREATED]})).json()
    assert (replaced["is_enabled"], replaced["description"]) == (True, None)
    assert (await ann.client.delete(path)).status_code == 204
    assert (await ann.client.get(path)).status_code == 404


async def test_webhook_is_sent_to_a_client_that_knows_its_version(ann: Person) -> None:
    """Dropped events and failures change it without a new version."""
    webhook = await make(ann, URL)
    known = {"If-None-Match": f'"{webhook["version"]}"'}
    response = await ann.client.get(f"{WEBHOOKS}/{webhook['id']}", headers=known)
    assert (response.status_code, response.headers["ETag"]) == (200, known["If-None-Match"])


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("ftp://example.com/", "Enter an address"),
        ("example.com", "Enter an address"),
        ("http://", "Enter an address"),
        ("http://ann:secret@127.0.0.1/", "must not have"),
        ("http://127.0.0.1/#part", "must not have"),
        ("http://10.0.0.1/", "not public"),
        ("http://0x0a.1/", "not public"),
        ("http://167772161/", "not public"),
        ("http://[::ffff:10.0.0.1]/", "not public"),
        ("http://[fe80::1]/", "not public"),
        ("http://unknown.example.com/", "cannot be found"),
    ],
)
async def test_unusable_address_is_refused(
    ann: Person, monkeypatch: pytest.MonkeyPatch, url: str, detail: str
) -> None:
    async def look_up(name: str) -> Any:
        raise addresses.UnknownHost

    monkeypatch.setattr(addresses, "look_up", look_up)
    response = await ann.client.post(WEBHOOKS, json={"url": url, "event_types": [CREATED]})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["loc"] == ["body", "url"]
    assert detail in error["msg"]
    webhook = await make(ann, URL)
    response = await ann.client.patch(f"{WEBHOOKS}/{webhook['id']}", json={"url": url})
    assert response.status_code == 422


async def test_production_requires_https(app: FastAPI, ann: Person) -> None:
    resources = resources_of(app)
    settings = resources.settings.model_copy(update={"environment": "production"})
    principal = await resources.accounts.authenticate(ann.token)
    service = dependencies.build_service(replace(resources, settings=settings), principal)
    with pytest.raises(Invalid, match="https://"):
        await service.create(WebhookCreate(url=URL, event_types=[CREATED]))
    assert await service.create(WebhookCreate(url="https://127.0.0.1", event_types=[CREATED]))


@pytest.mark.parametrize(
    "values",
    [
        {"event_types": []},
        {"event_types": ["thing.unknown"]},
        {"event_types": ["webhook.test"]},
        {"event_types": [CREATED, "a\0b"]},
        {"url": "x" * 2001},
        {"description": "x" * 256},
        {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        {"owner_id": 7},
    ],
)
async def test_invalid_value_is_refused(ann: Person, values: dict[str, Any]) -> None:
    body = {"url": URL, "event_types": [CREATED]} | values
    assert (await ann.client.post(WEBHOOKS, json=body)).status_code == 422


async def test_number_of_webhooks_is_limited_also_at_once(
    ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_WEBHOOKS", 1)
    body = {"url": URL, "event_types": [CREATED]}
    responses = await asyncio.gather(*(ann.client.post(WEBHOOKS, json=body) for _ in range(4)))
    assert sorted(each.status_code for each in responses) == [201, 409, 409, 409]
    await make(bob, URL)


async def test_webhook_of_another_user_does_not_exist(
    app: FastAPI, ann: Person, bob: Person, root: Person, receiver: Receiver
) -> None:
    webhook, other = await make(ann, receiver.url), await make(bob, receiver.url)
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    (delivery,) = await deliveries(ann, webhook)
    path = f"{WEBHOOKS}/{webhook['id']}"
    body = {"url": URL, "event_types": [CREATED]}
    for person in (bob, root):
        for method, url, sent in (
            ("GET", path, None),
            ("PUT", path, body),
            ("PATCH", path, {"is_enabled": False}),
            ("DELETE", path, None),
            ("POST", f"{path}/secret", None),
            ("POST", f"{path}/test", None),
            ("GET", f"{path}/deliveries", None),
            ("GET", f"{path}/deliveries/{delivery['id']}", None),
            ("POST", f"{path}/deliveries/{delivery['id']}/send", None),
        ):
            assert (await person.client.request(method, url, json=sent)).status_code == 404, url
    mixed = f"{WEBHOOKS}/{other['id']}/deliveries/{delivery['id']}"
    assert (await bob.client.get(mixed)).status_code == 404
    assert (await bob.client.post(f"{mixed}/send")).status_code == 404
    assert (await root.client.get(WEBHOOKS)).json()["results"] == []
    assert await read(ann, webhook)
    assert len(receiver.requests) == 1


async def token_with(ann: Person, app: FastAPI, scope: str) -> str:
    body = {
        "name": "Reader",
        "scopes": scope.split(),
        "current_password": "correct horse battery",
    }
    response = await ann.client.post("/api/v1/users/me/api-keys", json=body)
    assert response.status_code == 201, response.text
    key: str = response.json()["key"]
    return key


async def test_scopes_are_required(app: FastAPI, ann: Person) -> None:
    webhook = await make(ann, URL)
    key = await token_with(ann, app, "webhooks:read")
    async with client_of(app, key) as reader:
        path = f"{WEBHOOKS}/{webhook['id']}"
        assert (await reader.get(path)).status_code == 200
        assert (await reader.get(f"{WEBHOOKS}/event-types")).status_code == 200
        for response in (
            await reader.delete(path),
            await reader.post(f"{path}/secret"),
            await reader.post(f"{path}/test"),
        ):
            assert response.status_code == 403


async def test_token_cannot_have_events_sent_of_records_that_it_cannot_read(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes = {CREATED: "account", DELETED: "webhooks:read"}
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", scopes)
    key = await token_with(ann, app, "webhooks:read webhooks:write")
    async with client_of(app, key) as program:
        assert (await program.get(f"{WEBHOOKS}/event-types")).json() == [DELETED]
        body = {"url": URL, "event_types": [DELETED]}
        created = await program.post(WEBHOOKS, json=body)
        assert created.status_code == 201
        path = f"{WEBHOOKS}/{created.json()['id']}"
        for response in (
            await program.post(WEBHOOKS, json=body | {"event_types": [CREATED]}),
            await program.patch(path, json={"event_types": [CREATED, DELETED]}),
        ):
            assert response.status_code == 403
            assert "lacks the scope account" in response.json()["detail"]


async def test_token_cannot_redirect_or_read_events_of_records_that_it_cannot_read(
    app: FastAPI, ann: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await make(ann, receiver.url)
    await record(app, thing_event(ann.id))
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", dict.fromkeys(TYPES, "account"))
    key = await token_with(ann, app, "webhooks:read webhooks:write")
    path = f"{WEBHOOKS}/{webhook['id']}"
    async with client_of(app, key) as program:
        for response in (
            await program.patch(path, json={"url": f"{receiver.url}/other"}),
            await program.put(path, json={"url": receiver.url, "event_types": [CREATED]}),
            await program.get(f"{path}/deliveries/1"),
        ):
            assert response.status_code == 403
        (delivery,) = (await program.get(f"{path}/deliveries")).json()["results"]
    assert "payload" not in delivery
    webhook.pop("secret")
    assert await read(ann, webhook) == webhook


async def test_token_cannot_redirect_events_that_are_added_during_the_look_up_of_the_host(
    app: FastAPI, ann: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes = {CREATED: "webhooks:read", DELETED: "account"}
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", scopes)
    webhook = await make(ann, receiver.url, event_types=[CREATED])
    path = f"{WEBHOOKS}/{webhook['id']}"
    look_up = AddressRules.addresses_of

    async def look_up_slowly(*arguments: Any) -> Any:
        added = await ann.client.patch(path, json={"event_types": [CREATED, DELETED]})
        assert added.status_code == 200
        return await look_up(*arguments)

    monkeypatch.setattr(AddressRules, "addresses_of", look_up_slowly)
    key = await token_with(ann, app, "webhooks:read webhooks:write")
    async with client_of(app, key) as program:
        response = await program.patch(path, json={"url": f"{receiver.url}/other"})
    assert response.status_code == 403
    found = await read(ann, webhook)
    assert (found["url"], found["event_types"]) == (receiver.url, [CREATED, DELETED])


async def test_deliveries_are_listed_in_pages_and_by_status(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    webhook = await make(ann, receiver.url)
    receiver.responses = [500]
    await record(app, *(thing_event(ann.id, number) for number in range(3)))
    await resources_of(app).jobs.drain()
    url = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    first = (await ann.client.get(url, params={"limit": 2, "with_total": True})).json()
    assert (len(first["results"]), first["total"]) == (2, 3)
    second = (await ann.client.get(url, params={"limit": 2, "cursor": first["next"]})).json()
    ids = [each["id"] for page in (first, second) for each in page["results"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    pending = (await ann.client.get(url, params={"status": "pending"})).json()["results"]
    assert [each["response_status"] for each in pending] == [500]


def test_signature_is_that_of_the_specification() -> None:
    signer = Signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    time = datetime.fromtimestamp(1614265330, UTC)
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time, '{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@needs("items")
async def test_changes_of_items_are_sent_as_the_owner_sees_them(
    app: FastAPI, ann: Person, root: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", DECLARED)
    types = (await ann.client.get(f"{WEBHOOKS}/event-types")).json()
    types = [type_ for type_ in types if type_.startswith("item.")]
    assert types == ["item.created", "item.deleted", "item.updated"]
    webhook = await make(ann, receiver.url, event_types=types)
    await make(root, f"{receiver.url}/root", event_types=types)
    created = await ann.client.post("/api/v1/items", json={"name": "Lamp", "price": "19.99"})
    path = f"/api/v1/items/{created.json()['id']}"
    changed = await root.client.patch(path, json={"price": "5"})
    stale = await ann.client.patch(path, json={"price": "6"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    await ann.client.delete(path)
    batch = [{"name": f"Lamp {number}", "price": "1"} for number in range(3)]
    await ann.client.post("/api/v1/items/batch", json=batch)
    await resources_of(app).jobs.drain()
    sent = [request.verified(webhook["secret"]) for request in receiver.requests]
    assert [payload["type"] for payload in sent] == [
        "item.created", "item.updated", "item.deleted", *["item.created"] * 3
    ]  # fmt: skip
    assert [payload["data"] for payload in sent[:3]] == [
        created.json(), changed.json(), changed.json()
    ]  # fmt: skip


@needs("orders")
async def test_changes_of_orders_are_sent(
    app: FastAPI, ann: Person, root: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", DECLARED)
    types = ["order.created", "order.placed", "order.shipped", "order.deleted", "order.updated"]
    webhook = await make(ann, receiver.url, event_types=types)
    item = (await ann.client.post("/api/v1/items", json={"name": "Lamp", "price": "5"})).json()
    orders = "/api/v1/orders"
    lines = [{"item_id": item["id"], "quantity": 2}]
    order = (await ann.client.post(orders, json={"lines": lines})).json()
    empty = (await ann.client.post(orders, json={})).json()
    assert (await ann.client.post(f"{orders}/{empty['id']}/place")).status_code == 409
    for changes in ({"note": "Late"}, {}):
        await ann.client.patch(f"{orders}/{empty['id']}", json=changes)
    await ann.client.delete(f"{orders}/{empty['id']}")
    placed = (await ann.client.post(f"{orders}/{order['id']}/place")).json()
    assert (await root.client.post(f"{orders}/{order['id']}/ship")).status_code == 200
    await resources_of(app).jobs.drain()
    sent = [request.verified(webhook["secret"]) for request in receiver.requests]
    assert [payload["type"] for payload in sent] == [
        "order.created", "order.created", "order.updated", "order.deleted", "order.placed",
        "order.shipped",
    ]  # fmt: skip
    assert sent[4]["data"] == placed


async def test_change_counts_once_for_the_rate_limit_of_a_key(app: FastAPI, ann: Person) -> None:
    key = await make_api_key(ann, scopes=["webhooks:write"])
    database_url = app.state.settings.database_url.get_secret_value()
    settings = make_settings(database_url, rate_limit_api_key=parse("2/minute"))
    async with running(settings) as limited, client_of(limited, key["key"]) as program:
        responses = [await program.patch(f"{WEBHOOKS}/1", json={}) for _ in range(3)]
    assert [each.status_code for each in responses] == [404, 404, 429]


async def test_missing_scope_is_reported_before_the_confirmation(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = await sign_in_to_api(client, ann, scope="webhooks:read")
    async with client_of(app, token["access_token"]) as reader:
        refused = await reader.post(WEBHOOKS, json={})
    assert refused.json()["type"] == "/problems/missing-scope"


async def test_session_makes_and_changes_webhooks_after_a_recent_confirmation_only(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    """A stolen access token, which ends soon, must not become something that goes on sending."""
    webhook = await make(ann, receiver.url)
    path = f"{WEBHOOKS}/{webhook['id']}"
    body = {"url": receiver.url, "event_types": [CREATED]}
    await set_age(app, 16)

    async def statuses(client: httpx.AsyncClient) -> list[int]:
        calls = [("POST", WEBHOOKS), ("PUT", path), ("PATCH", path), ("POST", f"{path}/secret")]
        responses = [await client.request(method, url, json=body) for method, url in calls]
        refusals = {each.json()["type"] for each in responses if each.status_code == 403}
        assert refusals <= {"/problems/password-required"}
        return [each.status_code for each in responses]

    assert await statuses(ann.client) == [403, 403, 403, 403]
    assert (await ann.client.get(path)).json() == {
        name: value for name, value in webhook.items() if name != "secret"
    }
    key = await make_api_key(ann, scopes=["webhooks:read", "webhooks:write"])
    async with client_of(app, key["key"]) as program:  # It was made with the password.
        assert await statuses(program) == [201, 200, 200, 200]
    await ann.client.post(CONFIRM, json={"current_password": PASSWORD})
    assert await statuses(ann.client) == [201, 200, 200, 200]
    await set_age(app, 16)
    assert (await ann.client.delete(path)).status_code == 204
