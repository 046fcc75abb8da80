"""A slice for the tests, with two jobs; one of them sends a mail."""

import pytest

from app import discovery


def add_greeter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add this slice to the slices of the application."""
    slices = discovery.slices()
    monkeypatch.setattr(discovery, "slices", lambda: [*slices, __name__])
