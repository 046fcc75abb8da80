"""`app auth renew-key` encrypts the secrets of webhooks, too."""

from fastapi import FastAPI

from app.core.security.seals import Seals
from app.features.webhooks.cli import renew_webhook_secrets
from app.features.webhooks.models import Webhook
from tests.conftest import SECRET_KEY, Person
from tests.features.webhooks.receiver import Receiver
from tests.features.webhooks.steps import (
    WEBHOOKS,
    change_webhooks,
    make,
    record,
    resources_of,
    stored,
    thing_event,
)


async def test_secrets_are_encrypted_with_the_current_key(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    secrets = [(await make(ann, receiver.url))["secret"]]
    for _ in range(2):
        secrets.append((await ann.client.post(f"{WEBHOOKS}/1/secret")).json()["secret"])
    (before,) = await stored(app, Webhook)
    assert await renew_webhook_secrets(resources_of(app)) == (1, 0)
    (after,) = await stored(app, Webhook)
    assert after.sealed_secret != before.sealed_secret
    assert after.sealed_previous_secret != before.sealed_previous_secret
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    for secret in secrets:
        assert receiver.requests[0].verified(secret)


async def test_secret_of_another_key_is_counted_and_kept(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    await make(ann, receiver.url)
    foreign = Seals("webhook", SECRET_KEY + "x").seal(ann.id, "whsec_AAAA")
    await change_webhooks(app, sealed_secret=foreign)
    assert await renew_webhook_secrets(resources_of(app)) == (0, 1)
    (webhook,) = await stored(app, Webhook)
    assert webhook.sealed_secret == foreign


async def test_replaced_secret_of_another_key_is_dropped(
    app: FastAPI, ann: Person, receiver: Receiver
) -> None:
    secret = (await make(ann, receiver.url))["secret"]
    await ann.client.post(f"{WEBHOOKS}/1/secret")
    (webhook,) = await stored(app, Webhook)
    foreign = Seals("webhook", SECRET_KEY + "x").seal(ann.id, "whsec_AAAA")
    previous = f"{foreign} {webhook.sealed_previous_secret}"
    await change_webhooks(app, sealed_previous_secret=previous)
    assert await renew_webhook_secrets(resources_of(app)) == (1, 0)
    (webhook,) = await stored(app, Webhook)
    assert len((webhook.sealed_previous_secret or "").split()) == 1
    await record(app, thing_event(ann.id))
    await resources_of(app).jobs.drain()
    assert receiver.requests[0].verified(secret)
