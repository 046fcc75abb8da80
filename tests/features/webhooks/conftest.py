from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fastapi import FastAPI

from app.features.webhooks import dependencies
from tests.accounts.conftest import outbox
from tests.features.webhooks.receiver import Receiver, receiving
from tests.features.webhooks.steps import TYPES, resources_of

__all__ = ["outbox"]


@pytest.fixture(autouse=True)
def _event_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare the events of the tests, as the `events.py` of a slice does."""
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", dict.fromkeys(TYPES, "things:read"))


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
