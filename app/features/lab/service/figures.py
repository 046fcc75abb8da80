"""The columns of the table of results, their best values, and the bars of the charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.core.translation import mark, ngettext
from app.features.lab.schemas import STEPS, Measurement, Operation, Plan, Results

RESULTS_FILE = Path(__file__).parent.parent / "figures.json"  # by `app lab run --json`


@dataclass(frozen=True)
class Column:
    name: str
    title: str
    meaning: str
    more_is_better: bool = False

    def value(self, measurement: Measurement) -> int | None:
        figure: float | None = getattr(measurement, self.name)
        return None if figure is None else round(figure)

    def format(self, measurement: Measurement) -> str:
        figure = self.value(measurement)
        return "-" if figure is None else f"{figure:,}"

    def winners(self, measurements: Sequence[Measurement]) -> str:
        """Return the names of the steps with the best value, or "-" if all steps have it."""
        figures = {each.step: self.value(each) for each in measurements}
        known = [figure for figure in figures.values() if figure is not None]
        best = (max if self.more_is_better else min)(known, default=None)
        winners = [STEPS[step] for step, figure in figures.items() if figure == best]
        return ", ".join(winners) if len(winners) < len(figures) else "-"


COLUMNS = (
    Column("requests_per_second", "req/s", mark("requests per second"), more_is_better=True),
    Column("p50_ms", "p50", mark("p50 (ms)")),
    Column("p99_ms", "p99", mark("p99 (ms)")),
    Column("light_p99_ms", "light p99", mark("a light endpoint's p99 (ms)")),
    Column("loop_lag_ms", "loop lag", mark("loop lag (ms)")),
    Column("threads", "threads", mark("threads in use")),
    Column("queries", "queries", mark("queries of one request")),
)


CHARTED = {
    "items": ("requests_per_second", "light_p99_ms"),
    "report": ("p50_ms", "queries"),
}


class Bar(NamedTuple):
    length: float  # 1 is the longest of its column, in all panels of its operation
    label: str


class Row(NamedTuple):
    step: str
    bars: list[Bar]  # empty until the step is measured


class Panel(NamedTuple):
    """A chart that compares the steps under the same load."""

    title: str
    columns: list[Column]
    rows: list[Row]


def panels(plan: Plan, measurements: Sequence[Measurement]) -> list[Panel]:
    return [panel(operation, clients, measurements) for operation, clients in plan.rounds]


def panel(operation: Operation, clients: int, measurements: Sequence[Measurement]) -> Panel:
    columns = [column for column in COLUMNS if column.name in CHARTED[operation]]
    comparable = [each for each in measurements if each.operation == operation]
    maxima = [
        max((column.value(each) or 0 for each in comparable), default=0) or 1 for column in columns
    ]
    measured = {each.step: each for each in comparable if each.clients == clients}
    rows = []
    for step, name in STEPS.items():
        bars = [
            Bar((column.value(measured[step]) or 0) / maximum, column.format(measured[step]))
            for column, maximum in zip(columns, maxima, strict=True)
            if step in measured
        ]
        rows.append(Row(name, bars))
    return Panel(heading(operation, clients), columns, rows)


def group_by_load(
    measurements: Sequence[Measurement],
) -> dict[tuple[Operation, int], list[Measurement]]:
    """Group the measurements that are to be compared: those under the same load."""
    groups: dict[tuple[Operation, int], list[Measurement]] = {}
    for each in measurements:
        groups.setdefault((each.operation, each.clients), []).append(each)
    return groups


def heading(operation: Operation, clients: int) -> str:
    return ngettext(
        "{operation}, {clients} client",
        "{operation}, {clients} clients",
        clients,
        operation=operation,
        clients=clients,
    )


def read_results() -> Results:
    return Results.model_validate_json(RESULTS_FILE.read_text())
