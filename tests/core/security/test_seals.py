"""Encrypted texts that are of use for one user and one purpose."""

import time
from datetime import timedelta

import pytest

from app.core.security.seals import InvalidSeal, Seals


def test_seal_with_an_age_of_zero_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    seals = Seals("test", "key")
    sealed, now = seals.seal(1, "text"), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2)
    assert seals.unseal(1, sealed) == "text"
    with pytest.raises(InvalidSeal):
        seals.unseal(1, sealed, timedelta(0))
