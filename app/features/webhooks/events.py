"""The types of events that can be sent: those that the slices declare in their `events.py`."""

from typing import get_args

from app.accounts.ownership import OwnedEvent
from app.discovery import discover

TEST = "webhook.test"


def event_scopes() -> dict[str, str]:
    """Return the types of events, each with the scope that reads such records.

    It reads folders, so that it is called when the application is built.
    """
    found = dict[str, str]()
    for module in discover("events"):
        for event in vars(module).values():
            if is_owned_event(event):
                types = get_args(event.model_fields["type"].annotation)
                found |= dict.fromkeys(types, f"{event.feed}:read")
    return found


def is_owned_event(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, OwnedEvent) and value is not OwnedEvent
