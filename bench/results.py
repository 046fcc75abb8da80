"""What a run found, as it is kept in results/latest.json, and the figures drawn from it."""

from statistics import median
from typing import NamedTuple

from pydantic import BaseModel

from bench.load import Measurement

FLOOR = "starlette"


class Spread(NamedTuple):
    """Of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


class Life(BaseModel):
    """Of one contender's process, over all workloads."""

    title: str
    start_seconds: list[float]
    resident_mb: list[float]  # at rest, then after each round
    requests: int = 0


class Result(BaseModel):
    machine: dict[str, str]
    packages: dict[str, str]
    settings: dict[str, int]
    contenders: dict[str, Life]
    workloads: dict[str, dict[str, list[Measurement]]]  # by workload and contender: the rounds

    def of(self, workload: str, contender: str, figure: str) -> Spread:
        """`figure` is one of Measurement's."""
        rounds = self.workloads[workload][contender]
        return Spread.of([getattr(each, figure) for each in rounds])

    def ratio(self, workload: str, contender: str) -> Spread:
        rounds = self.workloads[workload]
        return Spread.of(paired(rounds[contender], rounds[FLOOR]))


def paired(rounds: list[Measurement], floor: list[Measurement]) -> list[float]:
    """Each round against the floor's of the same round: what slows the machine slows both."""
    return [each.per_second / other.per_second for each, other in zip(rounds, floor, strict=True)]
