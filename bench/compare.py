"""Two results: what has moved by more than the noise."""

from dataclasses import dataclass
from typing import Literal

from bench.results import Result, Spread

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
        if self.after.low > self.before.high:
            return "gain"
        return "LOSS" if self.after.high < self.before.low else "same"


def compare(before: Result, after: Result, contender: str) -> list[Change]:
    """By the ratio to the floor, so that the machine's own speed does not count."""
    return [
        Change(name, before.ratio(name, contender), after.ratio(name, contender))
        for name in after.workloads
        if name in before.workloads
    ]
