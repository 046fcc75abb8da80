from collections.abc import AsyncIterator

import pytest

from app.core.config import Settings
from app.features.webhooks import dependencies
from tests.accounts.conftest import outbox
from tests.conftest import default_settings
from tests.features.webhooks.receiver import Receiver, receiving
from tests.features.webhooks.steps import TYPES

__all__ = ["outbox"]


@pytest.fixture(autouse=True)
def _event_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare the events of the tests, as the `events.py` of a slice does."""
    monkeypatch.setattr(dependencies, "EVENT_SCOPES", dict.fromkeys(TYPES, "things:read"))


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings by which webhooks may be sent to the receivers of the tests."""
    allowed = {"webhook_allowed_networks": ["127.0.0.1/32"]}
    return default_settings(database_url).model_copy(update=allowed)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
