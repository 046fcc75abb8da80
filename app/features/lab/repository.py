"""The lab's own database, made for a run and dropped after it."""

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
from app.core.database.migrations import ALEMBIC_INI
from app.core.errors import Conflict
from app.features.lab.models import Item

OWNERS = 10
ITEMS_EACH = 10
LOCK = 7_251_940_387  # any number, as long as it is the same everywhere
SQLITE_CONNECTIONS = 100  # a thread each, and no server to share with others
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
async def own_database(settings: Settings) -> AsyncIterator[LabDatabase]:
    """Migrated, and with ten owners of ten items each."""
    async with empty_database(settings) as database:
        await migrate(database.url)
        await seed(database.url)
        yield database


@asynccontextmanager
async def empty_database(settings: Settings) -> AsyncIterator[LabDatabase]:
    """On SQLite a file that goes with its folder."""
    if settings.database.get_backend_name() == "sqlite":
        folder = await to_thread.run_sync(TemporaryDirectory)
        try:
            url = f"sqlite+aiosqlite:///{folder.name}/lab.db"
            yield LabDatabase(url, f"SQLite {sqlite3.sqlite_version}", SQLITE_CONNECTIONS)
        finally:
            await to_thread.run_sync(folder.cleanup)
        return
    name = name_beside(str(settings.database.database))
    engine = create_postgres_engine(settings, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as server, created(server, name):
        version: str = (await server.scalars(text("SHOW server_version"))).one()
        free: int = (await server.scalars(FREE_CONNECTIONS)).one()
        url = settings.database.set(database=name).render_as_string(hide_password=False)
        # A fifth of what is free stays so: others connect too.
        yield LabDatabase(url, f"PostgreSQL {version.split()[0]}", max(1, free * 4 // 5))


def name_beside(database: str) -> str:
    """Always the same for an application, and nothing that a person would call a database."""
    return f"lab_{uuid5(NAMESPACE_DNS, database).hex}"


@asynccontextmanager
async def created(server: AsyncConnection, name: str) -> AsyncIterator[None]:
    """What a killed run has left is dropped; while another one runs, it holds the lock."""
    if not await server.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        raise Conflict("The lab is running already.")
    await server.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    create = f"CREATE DATABASE {name} TEMPLATE template0"
    creating = asyncio.ensure_future(server.exec_driver_sql(create))
    try:
        await asyncio.shield(creating)
        yield
    finally:
        await creating  # a run that is given up meanwhile would not know whether there is one
        await server.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


async def migrate(url: str) -> None:
    """In a process of its own, which reads the database's address from its environment."""
    command = [sys.executable, "-m", "alembic", "-c", str(ALEMBIC_INI), "upgrade", "head"]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | {"DATABASE_URL": url})
    try:
        if await process.wait():
            raise RuntimeError("The lab's database could not be migrated.")
    finally:
        if process.returncode is None:  # the run was given up
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
