import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

import app.core.jobs.redis_queue  # noqa: F401  # its imports read files, which no event loop may do
from tests.waiting import eventually_async


class Outbox:
    """The mails that were sent, in the place of a server."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        app.state.resources.mailer.send = self.send

    async def send(self, to: str, template: str, **context: Any) -> None:
        self.sent.append((to, template, context))

    async def token(self, to: str, template: str) -> str:
        """That of the newest mail."""
        await self.settle()
        link = [context["link"] for *mail, context in self.sent if mail == [to, template]][-1]
        assert link.startswith("http://127.0.0.1:8000/")
        return re.sub(".*token=", "", link)

    async def to(self) -> list[tuple[str, str]]:
        await self.settle()
        return [(to, template) for to, template, _ in self.sent]

    async def settle(self) -> None:
        """Nothing is queued, and nothing runs."""
        jobs = self._app.state.resources.jobs
        if self._app.state.resources.settings.redis is None:
            await jobs.wait()
            return
        await eventually_async(lambda: self._is_empty(jobs._broker._redis))

    async def _is_empty(self, redis: Any) -> bool:
        return not await redis.xlen("jobs")


@asynccontextmanager
async def outbox_of(app: FastAPI) -> AsyncIterator[Outbox]:
    """With a worker, where the jobs are on Redis."""
    worker = (
        asyncio.create_task(app.state.resources.jobs.work())
        if app.state.resources.settings.redis
        else None
    )
    yield Outbox(app)
    if worker:
        app.state.resources.jobs._broker._stop.set()
        await worker


@pytest.fixture
async def outbox(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outbox]:
    monkeypatch.setattr("app.core.jobs.redis_queue.BLOCK_SECONDS", 0.1)
    async with outbox_of(app) as outbox:
        yield outbox
