"""What a process remembers of users for as long as it hears of every change to them.

`app.accounts.session_cache` tells how it hears of them, and when it does not.
"""

import time
from abc import ABC, abstractmethod

MAX_USERS = 10_000


class LeasedMemory(ABC):
    """A memory that may be used while this process holds a lease: while it hears of every change.

    What was read from the database is put into it with the `change_count` from before the query. If
    anything was forgotten since then, what was read may be out of date, and is not remembered.
    """

    def __init__(self) -> None:
        self._held_until = float("-inf")  # monotonic
        self._change_count = 0

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._held_until

    def hold_until(self, until: float) -> None:
        """Allow the use of the memory until the given time of the monotonic clock."""
        if not self.is_held:  # something may have been missed
            self.forget_all()
        self._held_until = until

    def lapse(self) -> None:
        """Stop the use of the memory, since changes may be missed."""
        self._held_until = float("-inf")
        self.forget_all()

    @property
    def change_count(self) -> int:
        """How often anything was forgotten. Read it before the database is asked."""
        return self._change_count

    def may_put(self, change_count: int) -> bool:
        return self.is_held and change_count == self._change_count

    def forget_user(self, user_id: int) -> None:
        self._change_count += 1
        self._drop_user(user_id)

    def forget_all(self) -> None:
        self._change_count += 1
        self._drop_all()

    @abstractmethod
    def _drop_user(self, user_id: int) -> None: ...

    @abstractmethod
    def _drop_all(self) -> None: ...


class Absences(LeasedMemory):
    """Remembers which users have nothing of a kind, so that the database need not be asked for it.

    A trigger notifies the channel of `app.accounts.session_cache` of a user who gets something, and
    the slice declares it in NOTIFYING_TRIGGERS of its `models.py`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds = dict[int, frozenset[str]]()  # by user

    def has(self, user_id: int, kind: str) -> bool:
        return self.is_held and kind in self._kinds.get(user_id, ())

    def put(self, change_count: int, user_id: int, kind: str) -> None:
        """Remember that the user has nothing of the kind, unless anything changed since the count.

        Call it after the commit: a rollback may restore what the transaction has deleted.
        """
        if not self.may_put(change_count):
            return
        if user_id not in self._kinds and len(self._kinds) >= MAX_USERS:
            del self._kinds[next(iter(self._kinds))]  # the oldest
        self._kinds[user_id] = self._kinds.get(user_id, frozenset()) | {kind}

    def _drop_user(self, user_id: int) -> None:
        self._kinds.pop(user_id, None)

    def _drop_all(self) -> None:
        self._kinds.clear()
