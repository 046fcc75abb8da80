"""Two results: what has moved by more than the noise."""

from dataclasses import dataclass
from typing import Literal

from bench.results import Result, Spread

LEAST = 0.05  # two quiet runs can differ by a few hundredths, and each agree with itself
Verdict = Literal["same", "gain", "LOSS"]


@dataclass(frozen=True)
class Change:
    workload: str
    before: Spread
    after: Spread

    @property
    def verdict(self) -> Verdict:
        """The rounds' own spread is the noise: it moved when no round of the one result lies
        among those of the other. With five rounds each, chance does that once in 126 times."""
        if abs(self.change) < LEAST:
            return "same"
        if self.after.low > self.before.high:
            return "gain"
        return "LOSS" if self.after.high < self.before.low else "same"

    @property
    def change(self) -> float:
        return self.after.median / self.before.median - 1


def compare(before: Result, after: Result, contender: str) -> list[Change]:
    """By the ratio to the floor, so that the machine's own speed does not count."""
    return [
        Change(name, before.ratio(name, contender), after.ratio(name, contender))
        for name in after.workloads
        if name in before.workloads
    ]
