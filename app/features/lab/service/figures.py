"""The columns of the table, and who wins each."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.lab.schemas import STEPS, Measurement, Operation


@dataclass(frozen=True)
class Column:
    name: str
    title: str
    meaning: str
    more_is_better: bool = False

    def of(self, measurement: Measurement) -> int | None:
        figure: float | None = getattr(measurement, self.name)
        return None if figure is None else round(figure)

    def shown(self, measurement: Measurement) -> str:
        figure = self.of(measurement)
        return "-" if figure is None else f"{figure:,}"

    def winners(self, measurements: Sequence[Measurement]) -> str:
        """Who shows the best figure; nobody when all do."""
        figures = {each.step: self.of(each) for each in measurements}
        known = [figure for figure in figures.values() if figure is not None]
        best = (max if self.more_is_better else min)(known, default=None)
        winners = [STEPS[step] for step, figure in figures.items() if figure == best]
        return ", ".join(winners) if len(winners) < len(figures) else "-"


COLUMNS = (
    Column("requests_per_second", "req/s", "requests per second", more_is_better=True),
    Column("p50_ms", "p50", "p50 (ms)"),
    Column("p99_ms", "p99", "p99 (ms)"),
    Column("light_p99_ms", "light p99", "a light endpoint's p99 (ms)"),
    Column("loop_lag_ms", "loop lag", "loop lag (ms)"),
    Column("threads", "threads", "threads in use"),
    Column("queries", "queries", "queries of one request"),
)


def rounds(measurements: Sequence[Measurement]) -> dict[tuple[Operation, int], list[Measurement]]:
    """The steps that are to be compared: those under the same load."""
    found: dict[tuple[Operation, int], list[Measurement]] = {}
    for each in measurements:
        found.setdefault((each.operation, each.clients), []).append(each)
    return found


def heading(operation: Operation, clients: int) -> str:
    return f"{operation}, {clients} client{'s' if clients > 1 else ''}"
