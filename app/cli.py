"""The command line interface: run `app --help`. Each slice adds its `cli.py`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
import uvicorn
from starlette.types import ASGIApp

from app.core.commands import run, table
from app.core.config import Settings, get_settings
from app.core.database.backup import BackupError, back_up, drop_all, has_tables
from app.core.database.backup import restore as restore_backup
from app.core.database.errors import one_line
from app.core.database.migrations import run_alembic
from app.core.database.startup import check_connections
from app.core.database.unit_of_work import UnitsOfWork
from app.core.errors import AppError
from app.core.http.server import raise_open_file_limit, require_free_port, server_options
from app.core.jobs.queue import JobRepository, QueuedJob
from app.core.jobs.schedule import Schedule, ScheduleStatus
from app.core.observability.logging import configure_logging, flush_logs
from app.core.resources import Resources
from app.discovery import discover


def open_resources(*, checks_clock: bool = True) -> AbstractAsyncContextManager[Resources]:
    """Open the resources that the slices' commands need."""
    from app.resources import app_resources  # The other commands start faster without it.

    return app_resources(get_settings(), checks_clock=checks_clock)


cli = typer.Typer(no_args_is_help=True, help="Run and manage the application.")
db = typer.Typer(no_args_is_help=True, help="Manage the database.")
cli.add_typer(db, name="db")
jobs = typer.Typer(no_args_is_help=True, help="Manage the queue of jobs.")
cli.add_typer(jobs, name="jobs")
for module in discover("cli"):
    cli.add_typer(module.cli)
if find_spec("app.project"):  # It is for development, and not in the image.
    cli.add_typer(import_module("app.project.cli").cli)


@cli.callback()
def root(context: typer.Context) -> None:
    context.obj = open_resources


@cli.command()
def serve(
    reload: Annotated[bool, typer.Option(help="Restart when the code changes.")] = False,
    migrate: Annotated[bool, typer.Option(help="Migrate the database first.")] = False,
) -> None:
    """Serve on HOST and PORT with WEB_CONCURRENCY workers."""
    settings = get_settings()
    require_free_port(settings.host, settings.port)
    configure_logging(settings)
    raise_open_file_limit(settings.max_connections)
    if migrate:
        upgrade()
    options = server_options(settings)
    asyncio.run(check_connections(settings))
    if settings.environment == "local" and settings.log_format == "console":
        _print_addresses(settings)
        # The addresses stay the last that is seen: uvicorn would go on to say the same.
        options["log_level"] = "debug" if settings.log_level == "DEBUG" else "warning"
    if settings.web_concurrency > 1 and not reload:
        from app.core.http.listener import Workers

        config = uvicorn.Config("app.main:app", workers=settings.web_concurrency, **options)
        Workers(config, sockets=[config.bind_socket()]).run()
        return
    # When uvicorn has stopped, it raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    migrates_at_reload = reload and migrate
    uvicorn.run(
        "app.cli:create_migrated_app" if migrates_at_reload else "app.main:app",
        factory=migrates_at_reload,
        reload=reload,
        reload_dirs=["app"] if reload else None,
        # The server reads templates, styles and scripts at the start.
        reload_includes=["*.html", "*.css", "*.js"] if reload else None,
        **options,
    )


def create_migrated_app() -> ASGIApp:
    """Return the application of a server that reloads: its new code may need new tables."""
    with ThreadPoolExecutor() as threads:  # Alembic runs an event loop of its own.
        threads.submit(upgrade).result()
    from app.main import app

    return app


@cli.command()
def worker() -> None:
    """Run the queued jobs. It needs REDIS_URL: without it, the server runs them."""
    settings = get_settings()
    if settings.redis_url is None:
        raise SystemExit(
            "REDIS_URL is not set, so the server runs the jobs. Set it to run a worker."
        )

    from app.main import freeze_garbage
    from app.resources import serving_metrics

    async def work() -> None:
        async with open_resources() as resources, serving_metrics(resources):
            freeze_garbage()
            await resources.jobs.work()

    asyncio.run(work())


@cli.command(name="check")
def check_deployment(
    context: typer.Context,
    deploy: Annotated[bool, typer.Option(help="Check the deployment too.")] = False,
) -> None:
    """Check the settings; with --deploy also the proxy, the database and the mail server."""
    settings = get_settings()
    if not deploy:
        typer.echo("The settings are valid.")
        return
    from app.core import deployment  # the other commands start faster without it

    async def work(resources: Resources) -> list[deployment.Finding]:
        return [
            *deployment.check_settings(settings),
            await deployment.check_mail(settings, resources.mailer),
            *[each async for each in deployment.check_database(settings, resources.database)],
        ]

    context.obj = partial(open_resources, checks_clock=False)  # It is one of the findings.
    findings = run(context, work)
    typer.echo("\n".join(map(str, findings)))
    raise typer.Exit(any(finding.level == "error" for finding in findings))


@cli.command("settings")
def list_settings() -> None:
    """Print the settings that are in force, without secrets, and where each comes from."""
    from app.core.setting_list import setting_rows

    typer.echo(table(setting_rows(get_settings())))


@cli.command("routes")
def list_routes() -> None:
    """Print each route's methods, path, endpoint and scopes, and which router serves it."""
    from app.core.http.route_list import route_rows
    from app.main import create_app, fast_path

    fastpath = fast_path(get_settings())
    typer.echo(table(route_rows(create_app(), fastpath.describe_route if fastpath else None)))


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_app  # The other commands start faster without it.

    typer.echo(json.dumps(create_app().openapi(), indent=2))


@db.command()
def upgrade(revision: str = "head") -> None:
    """Migrate the database, as `alembic upgrade head` does."""
    from alembic import command  # A server starts faster without it.

    run_alembic(command.upgrade, revision)
    flush_logs()  # the migrations' event loop has ended


@db.command()
def check() -> None:
    """Fail when the models have changed without a migration. Uses a temporary database."""
    from alembic import command

    with TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{folder}/check.db"
        get_settings.cache_clear()
        upgrade()
        run_alembic(command.check)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """End the program with one line for an error that is expected."""
    try:
        yield
    except AppError as error:
        raise SystemExit(one_line(error)) from None
    except (BackupError, OSError) as error:
        raise SystemExit(str(error)) from None


@db.command()
def backup(file: Path) -> None:
    """Write a backup of the database to FILE, also while the application runs."""
    with errors_as_lines():
        back_up(get_settings(), file)
    typer.echo(f"The backup is {file}.")


@db.command()
def restore(
    file: Path,
    yes: Annotated[bool, typer.Option("--yes", help="Replace the data of the database.")] = False,
) -> None:
    """Restore the database from FILE, a backup. If that fails, nothing has changed."""
    settings = get_settings()
    with errors_as_lines():
        if not yes and asyncio.run(has_tables(settings)):
            raise SystemExit("The database is not empty. Pass --yes to replace all its data.")
        restore_backup(settings, file)
    typer.echo(f"The database was restored from {file}. Run `app db upgrade` if the code is newer.")


@db.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all data of the database, and create its tables anew."""
    settings = get_settings()
    if not yes:
        typer.confirm(f"Delete all data of {settings.database!r}?", abort=True)
    with errors_as_lines():
        asyncio.run(drop_all(settings))
    upgrade()


@jobs.command("list")
def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 50,
) -> None:
    """Print the failed jobs, then those that are due next, and the schedules."""

    async def work(resources: Resources) -> tuple[Sequence[QueuedJob], Sequence[ScheduleStatus]]:
        async with UnitsOfWork(JobRepository, resources.database).reading() as queue:
            queued = await queue.list(limit)
        return queued, await resources.jobs.schedules.list()

    queued, schedules = run(context, work)
    for job in queued:
        state = "failed" if job.has_failed else f"due {_utc(job.run_at)}"
        line = f"{job.id:>6}  {job.name:<24} {state:<27} attempts: {job.attempts}"
        typer.echo(f"{line}  {job.error}" if job.error else line)
    for name, cron, following, stored in schedules:
        last = stored.last_due_at if stored else None
        times = f"last: {_utc(last)}  next: {_utc(following)}"
        typer.echo(f"{name:<32} {cron:<16} {times}  {_outcome(stored)}".rstrip())


def _outcome(schedule: Schedule | None) -> str:
    if schedule is None or schedule.finished_at is None:
        return ""
    return f"{schedule.error or 'succeeded'}, in {schedule.duration_ms} ms"


def _utc(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "never"


@jobs.command("retry")
def retry_job(context: typer.Context, job_id: int) -> None:
    """Queue a failed job again."""

    async def work(resources: Resources) -> QueuedJob:
        async with UnitsOfWork(JobRepository, resources.database).transaction() as queue:
            return await queue.retry(job_id)

    typer.echo(f"Queued again: {run(context, work).name}")


def _print_addresses(settings: Settings) -> None:
    """Print the addresses of the pages and docs, and the account to sign in with."""
    # What listens on all addresses is opened by the machine's own.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    typer.echo(f"\n  {'Pages' if find_spec('app.pages') else 'Server':<10} {url}")
    if settings.has_docs:
        typer.echo(f"  API        {url}/docs\n  Reference  {url}/redoc")
    if settings.first_superuser:
        email, password = settings.first_superuser
        hint = "(FIRST_SUPERUSER_PASSWORD)" if settings.first_superuser_password else password
        typer.echo(f"  Sign in    {email}  {hint}\n")
