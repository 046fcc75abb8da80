"""Compares two results."""

from dataclasses import dataclass
from typing import Literal

from bench.results import Result, Spread

MIN_CHANGE = 0.05  # two runs on a quiet machine can differ by a few hundredths
Verdict = Literal["same", "gain", "LOSS"]


@dataclass(frozen=True)
class Change:
    workload: str
    before: Spread
    after: Spread

    @property
    def verdict(self) -> Verdict:
        """Return whether the ratio changed by more than the noise, which is the rounds' spread.

        It changed if the ranges of the two results do not overlap. With five rounds each, that
        happens by chance in one of 126 comparisons.
        """
        if abs(self.change) < MIN_CHANGE:
            return "same"
        if self.after.low > self.before.high:
            return "gain"
        return "LOSS" if self.after.high < self.before.low else "same"

    @property
    def change(self) -> float:
        return self.after.median / self.before.median - 1


def compare(before: Result, after: Result, contender: str) -> list[Change]:
    """Compare the ratios to the floor, which do not depend on the speed of the machine."""
    return [
        Change(name, before.ratio(name, contender), after.ratio(name, contender))
        for name in after.workloads
        if name in before.workloads
    ]
