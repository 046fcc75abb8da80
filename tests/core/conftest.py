import asyncio
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.databases import Databases


@pytest.fixture
async def cut(databases: Databases, own_database_url: str) -> Any:
    """Cuts all the connections to its database, as a restart of the server does."""

    async def cut() -> None:
        name = make_url(own_database_url).database
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
        await asyncio.to_thread(databases.execute, own_database_url, statement)

    return cut
