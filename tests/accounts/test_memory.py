"""What is remembered of users, under a lease."""

import time

import pytest

from app.accounts import memory
from app.accounts.memory import Absences

KIND = "things"


@pytest.fixture
def absences() -> Absences:
    absences = Absences()
    absences.hold_until(time.monotonic() + 3600)
    return absences


def test_absence_is_remembered_for_its_user_and_kind(absences: Absences) -> None:
    absences.put(absences.change_count, 1, KIND)
    absences.put(absences.change_count, 1, "others")
    assert absences.has(1, KIND)
    assert absences.has(1, "others")
    assert not absences.has(1, "more")
    assert not absences.has(2, KIND)


def test_change_forgets_the_user_alone(absences: Absences) -> None:
    for user_id in (1, 2):
        absences.put(absences.change_count, user_id, KIND)
    absences.forget_user(1)
    assert not absences.has(1, KIND)
    assert absences.has(2, KIND)


def test_change_between_the_look_up_and_its_end_is_not_missed(absences: Absences) -> None:
    change_count = absences.change_count
    absences.forget_user(1)
    absences.put(change_count, 1, KIND)
    assert not absences.has(1, KIND)


def test_lapsed_lease_remembers_nothing(absences: Absences) -> None:
    change_count = absences.change_count
    absences.put(change_count, 1, KIND)
    absences.lapse()
    absences.put(change_count, 2, KIND)
    absences.put(absences.change_count, 3, KIND)
    assert not absences.has(1, KIND)
    absences.hold_until(time.monotonic() + 3600)
    assert not any(absences.has(user_id, KIND) for user_id in (1, 2, 3))


def test_lease_that_has_run_out_is_renewed_without_what_was_known(absences: Absences) -> None:
    absences.put(absences.change_count, 1, KIND)
    absences.hold_until(time.monotonic() - 1)
    assert not absences.has(1, KIND)
    absences.hold_until(time.monotonic() + 3600)
    assert not absences.has(1, KIND)


def test_memory_is_bounded(absences: Absences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_USERS", 3)
    for user_id in range(10):
        absences.put(absences.change_count, user_id, KIND)
    assert [user_id for user_id in range(10) if absences.has(user_id, KIND)] == [7, 8, 9]
