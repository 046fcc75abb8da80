import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.conftest import POSTGRES_URL
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually_async


@pytest.fixture
async def cut(databases: Databases, own_database_url: str) -> Any:
    """Return a function that cuts all connections to the database, like a server restart."""

    async def cut() -> None:
        name = make_url(own_database_url).database
        statement = (
            f"SELECT pg_terminate_backend(pid, {DEADLINE_SECONDS * 1000}) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
        await asyncio.to_thread(databases.execute, own_database_url, statement)

    return cut


async def until_asleep(database_url: str) -> None:
    """Wait until a statement in this database has called pg_sleep."""
    name = make_url(database_url).database
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'"
    connection = await asyncpg.connect((POSTGRES_URL or "").replace("+asyncpg", ""))
    await eventually_async(lambda: connection.fetchval(query, name))
    await connection.close()
