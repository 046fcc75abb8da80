"""`app lab run` and `app lab serve`."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.core.config import get_settings
from app.core.errors import AppError
from app.features.lab.repository import temporary_database
from app.features.lab.schemas import STEPS, Measurement, Plan, Progress, Results
from app.features.lab.service.chart import draw
from app.features.lab.service.figures import COLUMNS, group_by_load, heading
from app.features.lab.service.runner import check_drivers, measure, running_server

if TYPE_CHECKING:
    from rich.table import Table

cli = typer.Typer()
lab = typer.Typer(no_args_is_help=True, help="Measure the steps from sync to async.")
cli.add_typer(lab, name="lab")


@lab.command()
def run(
    seconds: Annotated[float, typer.Option(help="Duration of each measurement.")] = 5,
    clients: Annotated[str, typer.Option(help="Numbers of clients, by commas.")] = "1,10,100",
    query_ms: Annotated[float, typer.Option(help="Milliseconds that a query waits.")] = 20,
    json: Annotated[Path | None, typer.Option(help="JSON file for all figures.")] = None,
    chart: Annotated[Path | None, typer.Option(help="SVG file for the chart.")] = None,
) -> None:
    """Measure the four steps on a temporary database."""
    if chart and chart.suffix != ".svg":
        raise SystemExit("--chart: The file name must end in .svg.")
    plan = parse_plan(seconds=seconds, clients=clients.split(","), query_ms=query_ms)
    try:
        results = asyncio.run(show_run(plan))
    except AppError as error:
        raise SystemExit(error.detail) from None
    except DBAPIError as error:
        raise SystemExit(str(error.orig)) from None
    if json:
        json.write_text(results.model_dump_json(indent=2) + "\n")
    if chart:
        chart.write_text(draw(results))


@lab.command()
def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8001,
    query_ms: Annotated[float, typer.Option(help="Milliseconds that a query waits.")] = 0,
) -> None:
    """Serve the four steps on a temporary database, to try them by hand."""
    settings = get_settings()

    async def serve_until_interrupted() -> None:
        check_drivers(settings)
        async with (
            temporary_database(settings) as database,
            running_server(settings, database, query_ms, port) as bound,
        ):
            typer.echo(f"http://127.0.0.1:{bound}/docs")
            await asyncio.Event().wait()

    try:
        asyncio.run(serve_until_interrupted())
    except KeyboardInterrupt:
        pass
    except AppError as error:
        raise SystemExit(error.detail) from None


async def show_run(plan: Plan) -> Results:
    """Run the plan. Show a progress bar, and the results at the end."""
    from rich.console import Console  # the server starts faster without it
    from rich.progress import Progress as ProgressBar

    console = Console()
    with ProgressBar(*ProgressBar.get_default_columns(), console=console, transient=True) as bar:
        task = bar.add_task("Creating a database", total=None)
        async with aclosing(measure(get_settings(), plan)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    description = f"{STEPS[event.step]}: {heading(event.operation, event.clients)}"
                    bar.update(
                        task, description=description, completed=event.done, total=event.total
                    )
                elif isinstance(event, Results):
                    results = event
    for (operation, clients), measurements in group_by_load(results.measurements).items():
        console.print(build_table(heading(operation, clients), measurements))
    for name, value in results.machine.items():
        console.print(f"{name:12} {value}", highlight=False)
    return results


def build_table(title: str, measurements: list[Measurement]) -> "Table":
    from rich.table import Table

    table = Table(title=f"{title} (times in ms)", title_justify="left")
    table.add_column()
    for column in COLUMNS:
        table.add_column(column.title, justify="right")
    for each in measurements:
        name = STEPS[each.step] + (f", {each.errors} failed" if each.errors else "")
        table.add_row(name, *(column.format(each) for column in COLUMNS))
    table.add_section()
    table.add_row("best", *(column.winners(measurements) for column in COLUMNS), style="green")
    return table


def parse_plan(**values: object) -> Plan:
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_input=False)[0]
        option = str(details["loc"][0]).replace("_", "-")
        raise SystemExit(f"--{option}: {details['msg']}") from None
