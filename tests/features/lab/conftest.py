import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI

from app.core.config import Settings
from app.features.lab.repository import lab_database_name, seed
from app.features.lab.schemas import ServerOptions
from app.features.lab.server import create_lab_app
from tests.conftest import client_of
from tests.databases import Databases, Postgres


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[FastAPI]:
    """Return the application of the lab, with ten owners of ten items each."""
    await seed(database_url)
    options = ServerOptions(database_url=database_url)
    app = await asyncio.to_thread(create_lab_app, options)  # It reads files.
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
def processes_may_start(blocking_detector: BlockBuster | None) -> None:
    if blocking_detector:
        for function in blocking_detector.functions.values():  # asyncio starts processes this way.
            function.can_block_in("/subprocess.py", "_execute_child")


@pytest.fixture
def lab_name(settings: Settings) -> str:
    return lab_database_name(str(settings.database.database))


@pytest.fixture
def nothing_is_left(
    processes_may_start: None,
    databases: Databases,
    settings: Settings,
    lab_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Expect that no file, no database and no connection is left.

    A database of that name can be created again. An open connection is collected as garbage, whose
    warning fails the test.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    gc.collect()
    assert not list(tmp_path.iterdir())
    if isinstance(databases, Postgres):
        make, drop = f"CREATE DATABASE {lab_name}", f"DROP DATABASE {lab_name}"
        databases.execute(settings.database_url.get_secret_value(), make, drop)
