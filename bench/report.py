"""Shows results as tables on the terminal and in Markdown."""

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
        table = RichTable(title=self.title)
        for name in self.head:
            table.add_column(name, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = "".join(f"| {' | '.join(line)} |\n" for line in (self.head, rule, *self.rows))
        return f"{self.title}:\n\n{lines}"


def speed_table(result: Result) -> Table:
    rows = [
        _speed_row(result, workload, contender)
        for workload in result.workloads
        for contender in result.contenders
    ]
    head = ("workload", "ratio", "in the rounds", "requests/s", "CPU µs", "p50 ms", "p99 ms")
    return Table("Requests, and their ratio to the floor", head, rows)


def _speed_row(result: Result, workload: str, contender: str) -> list[str]:
    def figure(name: str) -> float:
        return result.spread(workload, contender, name).median

    ratio = result.ratio(workload, contender)
    return [
        f"{workload}: {result.contenders[contender].title}",
        f"{ratio.median:.2f}",
        "" if contender == FLOOR else format_range(ratio),
        f"{figure('per_second'):,.0f}",
        f"{figure('cpu_us'):,.0f}",
        f"{figure('p50_ms'):.1f}",
        f"{figure('p99_ms'):.1f}",
    ]


def process_table(result: Result) -> Table:
    rows = [
        [
            process.title,
            f"{median(process.start_seconds):.2f}",
            *(f"{process.resident_mb[round_]:.0f}" for round_ in (0, 1, -1)),
            f"{process.requests:,}",
        ]
        for process in result.contenders.values()
    ]
    head = ("worker", "starts in s", "MB at rest", "after a round", "at the end", "after requests")
    return Table("Start and memory", head, rows)


def change_table(changes: Sequence[Change]) -> Table:
    rows = [
        [
            each.workload,
            f"{each.before.median:.2f}",
            format_range(each.before),
            f"{each.after.median:.2f}",
            format_range(each.after),
            f"{each.change:+.0%}",
            each.verdict,
        ]
        for each in changes
    ]
    head = ("workload", "before", "its rounds", "now", "its rounds", "change", "verdict")
    return Table("The ratio to the floor, against the last result", head, rows)


def format_range(values: Spread) -> str:
    return f"{values.low:.2f} to {values.high:.2f}"


def describe_run(result: Result) -> str:
    machine, settings = result.machine, result.settings
    rounds = [one for each in result.workloads.values() for found in each.values() for one in found]
    pinned = "pinned" if all(each.pinned for each in rounds) else "NOT pinned (no permission)"
    packages = ", ".join(f"{name} {number}" for name, number in result.packages.items())
    return (
        f"{machine['date']}, revision {machine['revision']}. {machine['cpu']}, "
        f"{machine['cores']} cores, Linux {machine['kernel']}, "
        f"load average before the rounds {machine['load']}. "
        f"PostgreSQL {machine['postgresql']}, fsync {machine['fsync']}, synchronous_commit "
        f"{machine['synchronous_commit']}, its backends {pinned}. Python {machine['python']}, "
        f"{packages}. {settings['rounds']} rounds of {settings['seconds']} s, "
        f"{settings['connections']} connections.\n"
    )
