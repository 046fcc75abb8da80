"""The result of a run, as it is stored in results/latest.json, and the figures derived from it."""

from statistics import median
from typing import NamedTuple

from pydantic import BaseModel

from bench.load import Measurement

FLOOR = "starlette"


class Spread(NamedTuple):
    """The median, the lowest and the highest value of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


class ContenderProcess(BaseModel):
    """The process of a contender, which serves all workloads."""

    title: str
    start_seconds: list[float]
    resident_mb: list[float]  # at rest, then after each round
    requests: int = 0


class Result(BaseModel):
    machine: dict[str, str]
    packages: dict[str, str]
    settings: dict[str, int]
    contenders: dict[str, ContenderProcess]
    workloads: dict[str, dict[str, list[Measurement]]]  # by workload and contender: the rounds

    def spread(self, workload: str, contender: str, figure: str) -> Spread:
        """Return the spread of a figure, which is the name of an attribute of Measurement."""
        rounds = self.workloads[workload][contender]
        return Spread.of([getattr(each, figure) for each in rounds])

    def ratio(self, workload: str, contender: str) -> Spread:
        rounds = self.workloads[workload]
        return Spread.of(round_ratios(rounds[contender], rounds[FLOOR]))


def round_ratios(rounds: list[Measurement], floor: list[Measurement]) -> list[float]:
    """Compare each round with the floor's in the same round, so that a slow machine slows both."""
    return [each.per_second / other.per_second for each, other in zip(rounds, floor, strict=True)]
