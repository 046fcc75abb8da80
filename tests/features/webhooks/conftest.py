from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi import FastAPI

from app.core.jobs import lanes
from app.features.webhooks import dependencies
from app.features.webhooks.service import client, deliveries
from tests.accounts.conftest import outbox
from tests.features.webhooks.receiver import Receiver, receiving
from tests.features.webhooks.steps import TYPES, resources_of
from tests.isolation import DEADLINE_SECONDS

__all__ = ["outbox"]


@pytest.fixture(autouse=True)
def _event_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare the events of the tests, as the `events.py` of a slice does."""
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", dict.fromkeys(TYPES, "things:read"))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extend the times that a busy machine may exceed."""
    for name in ("CONNECT_SECONDS", "TOTAL_SECONDS"):
        monkeypatch.setattr(client, name, DEADLINE_SECONDS)
    monkeypatch.setattr(lanes, "QUICK_SECONDS", DEADLINE_SECONDS)
    pauses = [max(pause, timedelta(seconds=DEADLINE_SECONDS)) for pause in deliveries.PAUSES]
    monkeypatch.setattr(deliveries, "PAUSES", pauses)


@pytest.fixture
async def app(app: FastAPI) -> FastAPI:
    """Return the application with settings by which it sends to the receivers of the tests."""
    resources = resources_of(app)
    allowed = {"webhook_allowed_networks": ["127.0.0.1/32"]}
    changed = replace(resources, settings=resources.settings.model_copy(update=allowed))
    app.state.resources = changed.jobs.resources = changed
    return app


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
