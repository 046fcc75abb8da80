"""Results as tables: on the terminal, and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table as RichTable

from bench.compare import Change
from bench.results import FLOOR, Result, Spread


@dataclass(frozen=True)
class Table:
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        table = RichTable(*self.head, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def speeds(result: Result) -> Table:
    rows = [
        _speed(result, workload, contender)
        for workload in result.workloads
        for contender in result.contenders
    ]
    head = ("workload", "contender", "ratio", "requests/s", "CPU µs", "p50 ms", "p99 ms")
    return Table("Requests, and the ratio to the floor (lowest to highest round)", head, rows)


def _speed(result: Result, workload: str, contender: str) -> list[str]:
    def figure(name: str) -> float:
        return result.of(workload, contender, name).median

    ratio = "1" if contender == FLOOR else spread(result.ratio(workload, contender))
    return [
        workload,
        result.contenders[contender].title,
        ratio,
        f"{figure('per_second'):,.0f}",
        f"{figure('cpu_us'):,.0f}",
        f"{figure('p50_ms'):.1f}",
        f"{figure('p99_ms'):.1f}",
    ]


def lives(result: Result) -> Table:
    rows = [
        [
            life.title,
            f"{median(life.start_seconds):.2f}",
            *(f"{life.resident_mb[at]:.0f}" for at in (0, 1, -1)),
            f"{life.requests:,}",
        ]
        for life in result.contenders.values()
    ]
    head = ("contender", "start s", "MB at rest", "after a round", "at the end", "requests by then")
    return Table("Start and memory of the worker", head, rows)


def changes(found: Sequence[Change]) -> Table:
    rows = [
        [
            each.workload,
            spread(each.before),
            spread(each.after),
            f"{each.after.median / each.before.median - 1:+.0%}",
            each.verdict,
        ]
        for each in found
    ]
    head = ("workload", "before", "now", "change", "verdict")
    return Table("The ratio to the floor, against the last result", head, rows)


def spread(values: Spread) -> str:
    return f"{values.median:.2f} ({values.low:.2f} to {values.high:.2f})"


def origin(result: Result) -> str:
    machine = result.machine
    packages = ", ".join(f"{name} {machine[name]}" for name in machine if name not in NOT_A_PACKAGE)
    pinned = all(
        each.pinned
        for rounds in result.workloads.values()
        for one in rounds.values()
        for each in one
    )
    return (
        f"{machine['date']}, revision {machine['revision']}; {machine['cpu']}, "
        f"{machine['cores']} cores, Linux {machine['kernel']}; Python {machine['python']}, "
        f"PostgreSQL {machine['postgresql']} (fsync {machine['fsync']}, synchronous_commit "
        f"{machine['synchronous_commit']}), its backends "
        f"{'pinned' if pinned else 'NOT pinned: not permitted'}; {packages}. "
        f"{result.settings['rounds']} rounds of {result.settings['seconds']} s, "
        f"{result.settings['connections']} connections."
    )


NOT_A_PACKAGE = {
    "date", "revision", "cpu", "cores", "kernel", "python", "postgresql", "fsync",
    "synchronous_commit",
}  # fmt: skip
