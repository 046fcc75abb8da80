"""`python -m bench COMMAND`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import report
from bench.bulk import run as run_bulk
from bench.chart import draw
from bench.compare import compare
from bench.contenders import PROJECT, ROOT
from bench.errors import BenchError
from bench.jobs import run as run_jobs
from bench.overload import run as run_overload
from bench.process import cores, pin
from bench.results import Result
from bench.rounds import run as run_rounds
from bench.rounds import select_workloads
from bench.scale import run as run_scale

SERVER_URL = os.environ.get(
    "BENCH_POSTGRES_URL", "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres"
)
RESULTS = ROOT / "bench/results"

Rounds = Annotated[int, typer.Option(min=1)]
Seconds = Annotated[int, typer.Option(min=1, help="Duration of each measurement.")]
Only = Annotated[list[str] | None, typer.Option(help="Workload to measure. Can be repeated.")]
Output = Annotated[Path | None, typer.Option(help="Folder for the results.")]
console = Console()
cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@cli.callback()
def main() -> None:
    """Measure the project, and compare it with hand-written implementations."""
    # This process and its children, such as wrk, do not run on the server's core.
    pin(os.getpid(), cores()[1])


@cli.command()
def run(rounds: Rounds = 5, seconds: Seconds = 4, only: Only = None, output: Output = None) -> None:
    """Compare the project with the hand-written floors."""
    result = _run(rounds, seconds, only)
    _show(
        [report.speed_table(result), report.process_table(result)],
        output,
        "latest",
        report.describe_run(result),
    )
    if output:
        (output / "latest.json").write_text(result.model_dump_json(indent=1) + "\n")
        (output / "chart.svg").write_text(draw(result))


@cli.command()
def check(
    rounds: Annotated[int, typer.Option(min=3)] = 5, seconds: Seconds = 4, only: Only = None
) -> None:
    """Fail if a workload is slower than in the saved result by more than the noise."""
    file = RESULTS / "latest.json"
    if not file.exists():
        raise BenchError("There is no saved result to compare with: run `make bench`.")
    before = Result.model_validate_json(file.read_text())
    found = compare(before, _run(rounds, seconds, only), PROJECT.name)
    report.change_table(found).show(console)
    raise typer.Exit(any(each.verdict == "LOSS" for each in found))


@cli.command()
def bulk(seconds: Seconds = 4, items: int = 1_000_000, output: Output = None) -> None:
    """Measure batches of 1,000 items, and the export of all items."""
    _show([*run_bulk(SERVER_URL, seconds, items)], output, "bulk")


@cli.command()
def jobs(
    rounds: Rounds = 5,
    seconds: Seconds = 4,
    count: Annotated[int, typer.Option(min=1, help="Number of jobs to run.")] = 5000,
    output: Output = None,
) -> None:
    """Measure the queue of jobs, and what a job adds to a request."""
    redis_url = os.environ.get("BENCH_REDIS_URL")
    _show([*run_jobs(SERVER_URL, redis_url, rounds, seconds, count)], output, "jobs")


@cli.command()
def overload(seconds: Seconds = 8, only: Only = None, output: Output = None) -> None:
    """Measure a server with many more requests than it can serve."""
    workloads = select_workloads(only or ["one", "list", "create"])
    with _progress() as progress:
        table = run_overload(SERVER_URL, seconds, workloads, progress)
    _show([table], output, "overload")


@cli.command()
def scale(small: int = 10_000, large: int = 1_000_000, output: Output = None) -> None:
    """Measure lists and searches of an owner with few items, and of one with many."""
    with _progress() as progress:
        table = run_scale(SERVER_URL, small, large, progress)
    _show([table], output, "scale")


def _run(rounds: int, seconds: int, only: list[str] | None) -> Result:
    with _progress() as progress:
        return run_rounds(SERVER_URL, rounds, seconds, select_workloads(only or []), progress)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _show(tables: Sequence[report.Table], output: Path | None, name: str, note: str = "") -> None:
    for table in tables:
        table.show(console)
    console.print(note)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        texts = [table.markdown() for table in tables]
        (output / f"{name}.md").write_text("\n".join([*texts, note] if note else texts))


if __name__ == "__main__":
    try:
        cli()
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None
