"""Checks of a PostgreSQL server at the start: its clock, and its number of connections."""

import logging
import time
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from app.core.config import Settings
from app.core.database.engine import create_postgres_engine
from app.core.database.errors import one_line
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable

CLOCK_WARNING_SECONDS = 5
CLOCK_LIMIT_SECONDS = 60
CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
AVAILABLE_CONNECTIONS = text(
    "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    # PostgreSQL 16 and later.
    " - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0)"
)
Level = Literal["ok", "warning", "error"]
logger = logging.getLogger("app.startup")


async def check_clock(settings: Settings, database: Database) -> None:
    """Warn if the clocks of this process and the database differ. Exit if they differ too much.

    This process's clock decides what has expired. If it were fast, the process would delete the
    sessions of all users; so it does not start in production.
    """
    if database.is_sqlite:
        return
    try:
        seconds = await clock_difference(database)
    except Unavailable as error:  # /health/ready reports it.
        logger.warning("The clock of the database could not be read: %s", one_line(error))
        return
    level = clock_level(seconds)
    if level == "ok":
        return
    message = f"The clocks of this machine and of the database differ by {seconds:,.0f} seconds."
    if level == "error" and settings.environment == "production":
        raise SystemExit(f"{message} Production starts with up to {CLOCK_LIMIT_SECONDS}.")
    logger.warning("%s Sessions and tokens expire too early or too late.", message)


async def clock_difference(database: Database) -> float:
    """Return the seconds by which the clocks differ, at least: a slow response does not count."""
    before = time.time()
    async with database.reading() as session:
        now = float(await session.scalar(CLOCK) or 0)
    return max(before - now, now - time.time(), 0)


def clock_level(seconds: float) -> Level:
    if seconds > CLOCK_LIMIT_SECONDS:
        return "error"
    return "warning" if seconds > CLOCK_WARNING_SECONDS else "ok"


async def check_connections(settings: Settings) -> None:
    """Warn if the processes may open more connections than PostgreSQL has for them.

    Behind a pooler, the number of connections is the pooler's.
    """
    is_sqlite = settings.database.get_backend_name() == "sqlite"
    if is_sqlite or not settings.database_prepared_statements:
        return
    engine = create_postgres_engine(
        settings, statement_timeout=settings.database_statement_timeout, poolclass=NullPool
    )
    try:
        available = await available_connections(engine)
    except Unavailable:  # The workers report it.
        return
    if (required := required_connections(settings)) > available:
        logger.warning(
            "WEB_CONCURRENCY and DATABASE_POOL_SIZE allow %d connections, and PostgreSQL has %d.",
            required,
            available,
        )


async def available_connections(engine: AsyncEngine) -> int:
    """Return the number of connections that PostgreSQL does not reserve for administrators."""
    async with engine.connect() as connection:
        return int(await connection.scalar(AVAILABLE_CONNECTIONS) or 0)


def required_connections(settings: Settings) -> int:
    """Return the number of connections of all processes: their pools, and one each to listen.

    With Redis, `app worker` is one of the processes.
    """
    processes = settings.web_concurrency + bool(settings.redis_url)
    return processes * (settings.database_pool_size + settings.session_cache)
