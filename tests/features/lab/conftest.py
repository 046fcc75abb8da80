import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.features.lab.repository import seed
from app.features.lab.schemas import ServerOptions
from app.features.lab.server import create_lab_app
from tests.conftest import client_of


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[FastAPI]:
    """The lab's own, with ten owners of ten items each."""
    await seed(database_url)
    options = ServerOptions(database_url=database_url)
    app = await asyncio.to_thread(create_lab_app, options)  # it looks for files
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client
