"""The temporary database of the lab, created for each run."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from uuid import NAMESPACE_DNS, uuid5

from anyio import to_thread
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.accounts.models import User
from app.core.config import Settings
from app.core.database.engine import create_postgres_engine
from app.core.database.migrations import PYPROJECT
from app.core.errors import Conflict
from app.features.lab.models import Item

OWNERS = 10
ITEMS_EACH = 10
LOCK_ID = 7_251_940_387  # an arbitrary number, the same in every process
SQLITE_CONNECTIONS = 100  # each is a thread of this process, and no server limits them
FREE_CONNECTIONS = text(
    "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int - count(*) FROM pg_stat_activity"
)


@dataclass(frozen=True)
class LabDatabase:
    url: str
    system: str
    connections: int


@asynccontextmanager
async def temporary_database(settings: Settings) -> AsyncIterator[LabDatabase]:
    """Create a migrated database with ten owners of ten items each. Drop it at the end."""
    async with empty_database(settings) as database:
        await migrate(database.url)
        await seed(database.url)
        yield database


@asynccontextmanager
async def empty_database(settings: Settings) -> AsyncIterator[LabDatabase]:
    """Create an empty database: on SQLite a file in a temporary folder."""
    if settings.database.get_backend_name() == "sqlite":
        folder = await to_thread.run_sync(TemporaryDirectory)
        try:
            url = f"sqlite+aiosqlite:///{folder.name}/lab.db"
            yield LabDatabase(url, f"SQLite {sqlite3.sqlite_version}", SQLITE_CONNECTIONS)
        finally:
            await to_thread.run_sync(folder.cleanup)
        return
    name = lab_database_name(str(settings.database.database))
    engine = create_postgres_engine(settings, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as server, create_database(server, name):
        version: str = (await server.scalars(text("SHOW server_version"))).one()
        free: int = (await server.scalars(FREE_CONNECTIONS)).one()
        url = settings.database.set(database=name).render_as_string(hide_password=False)
        # A fifth of the free connections is left for other clients.
        yield LabDatabase(url, f"PostgreSQL {version.split()[0]}", max(1, free * 4 // 5))


def lab_database_name(database: str) -> str:
    """Return the name of the lab's database: fixed for an application, and unlike any other."""
    return f"lab_{uuid5(NAMESPACE_DNS, database).hex}"


@asynccontextmanager
async def create_database(server: AsyncConnection, name: str) -> AsyncIterator[None]:
    """Create the database, and drop it at the end. Raise Conflict while another run has the lock.

    The database of a run that was killed is dropped first.
    """
    if not await server.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK_ID}):
        raise Conflict("The lab is running already.")
    await server.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    create = f"CREATE DATABASE {name} TEMPLATE template0"
    creation = asyncio.ensure_future(server.exec_driver_sql(create))
    try:
        await asyncio.shield(creation)
        yield
    finally:
        await creation  # a canceled run has to wait for the database before it can drop it
        await server.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


async def migrate(url: str) -> None:
    """Run the migrations in a subprocess, which reads DATABASE_URL from its environment."""
    command = [sys.executable, "-m", "alembic", "-c", str(PYPROJECT), "upgrade", "head"]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | {"DATABASE_URL": url})
    try:
        if await process.wait():
            raise RuntimeError("The lab's database could not be migrated.")
    finally:
        if process.returncode is None:  # the run was canceled
            process.kill()


async def seed(url: str) -> None:
    owners = [
        {"email": email, "email_key": email, "password_hash": "nobody signs in"}
        for email in (f"owner{number}@example.com" for number in range(1, OWNERS + 1))
    ]
    engine = await to_thread.run_sync(create_async_engine, url)
    async with engine.begin() as connection:
        await connection.execute(insert(User), owners)
        ids = (await connection.scalars(select(User.id).order_by(User.id))).all()
        items = [
            {"name": f"Item {number}", "price": number, "owner_id": owner_id}
            for number in range(1, ITEMS_EACH + 1)
            for owner_id in ids
        ]
        await connection.execute(insert(Item), items)
    await engine.dispose()
