"""A slice of the tests' own: it has jobs, and one sends a mail."""

import pytest

from app import discovery


def add_greeter(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found as the application's own slices are."""
    slices = discovery.slices()
    monkeypatch.setattr(discovery, "slices", lambda: [*slices, __name__])
