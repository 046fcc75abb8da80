"""The lanes of which a process runs a job at the same time."""

from collections.abc import Collection
from typing import NamedTuple

MAX_RUNNING_LANES = 20
MAX_SLOW_LANES = 10  # of these
QUICK_SECONDS = 1
MAX_QUICK_LANES = 100


class FreeLanes(NamedTuple):
    """How many lanes can have a job started, and how many of these can be slow ones."""

    total: int
    slow: int
    quick: Collection[str]
    busy: Collection[str]


class LaneMemory:
    """Remembers the lanes whose last job in this process was quick. All others count as slow.

    So lanes that nothing is known of, such as new ones, cannot take all places either.
    """

    def __init__(self) -> None:
        self._quick = dict[str, None]()  # the one that was noted last is the last one

    def note(self, lane: str, seconds: float) -> None:
        self._quick.pop(lane, None)
        if seconds < QUICK_SECONDS:
            self._quick[lane] = None
        if len(self._quick) > MAX_QUICK_LANES:
            del self._quick[next(iter(self._quick))]

    def free(self, busy: Collection[str]) -> FreeLanes:
        total = MAX_RUNNING_LANES - len(busy)
        slow = MAX_SLOW_LANES - sum(lane not in self._quick for lane in busy)
        quick = [lane for lane in self._quick if lane not in busy]
        return FreeLanes(total, max(0, min(slow, total)), quick, busy)
