"""Steps that the tests of webhooks share.

The tests need no other feature: their events are of the type `thing.created`, declared here.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.ownership import OwnedEvent
from app.core.database.events import Events
from app.core.database.models import utc_now
from app.core.jobs.queue import QueuedJob
from app.core.schemas import Output
from app.features.webhooks.models import Webhook, WebhookDelivery
from app.resources import Resources
from tests.conftest import Person

WEBHOOKS = "/api/v1/webhooks"
TYPES = CREATED, DELETED = "thing.created", "thing.deleted"


class Thing(Output):
    id: int
    name: str


class ThingEvent(OwnedEvent):
    feed: ClassVar = "things"

    type: Literal["thing.created", "thing.deleted"]
    thing_id: int


def resources_of(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


def thing_event(owner_id: int, number: int = 1, type_: Any = CREATED) -> ThingEvent:
    thing = Thing(id=number, name="Lamp")
    return ThingEvent(type=type_, thing_id=number, owner_id=owner_id, data=thing)


async def record(app: FastAPI, *events: ThingEvent) -> None:
    """Commit a transaction with events, as a service does."""
    async with resources_of(app).database.transaction() as session:
        for event in events:
            Events(session).record(event)


async def make(person: Person, url: str, **values: Any) -> Any:
    body = {"url": url, "event_types": [CREATED, DELETED]} | values
    response = await person.client.post(WEBHOOKS, json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def read(person: Person, webhook: dict[str, Any]) -> Any:
    response = await person.client.get(f"{WEBHOOKS}/{webhook['id']}")
    assert response.status_code == 200, response.text
    return response.json()


async def deliveries(person: Person, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    response = await person.client.get(f"{WEBHOOKS}/{webhook['id']}/deliveries")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


async def send(app: FastAPI) -> None:
    """Make all attempts that are queued, also those that have to wait."""
    async with resources_of(app).database.transaction() as session:
        await session.execute(update(QueuedJob).values(run_at=utc_now()))
    await resources_of(app).jobs.drain()


async def change_webhooks(app: FastAPI, **values: Any) -> None:
    async with resources_of(app).database.transaction() as session:
        await session.execute(update(Webhook).values(**values))


async def stored(app: FastAPI, model: type[Webhook | WebhookDelivery | QueuedJob]) -> Sequence[Any]:
    async with resources_of(app).database.reading() as session:
        return (await session.scalars(select(model).order_by(model.id))).all()
