import re
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.core.jobs.queue import QueuedJob


class Outbox:
    """The mails that were sent, in the place of a server."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        app.state.resources.mailer.send = self.send

    async def send(self, to: str, template: str, **context: Any) -> None:
        self.sent.append((to, template, context))

    async def token(self, to: str, template: str) -> str:
        """Return the token of the newest mail."""
        await self.settle()
        link = [context["link"] for *mail, context in self.sent if mail == [to, template]][-1]
        assert link.startswith("http://127.0.0.1:8000/")
        return re.sub(".*token=", "", link)

    async def to(self) -> list[tuple[str, str]]:
        await self.settle()
        return [(to, template) for to, template, _ in self.sent]

    async def settle(self) -> None:
        """Run what is queued."""
        await self._app.state.resources.jobs.drain()


async def queued_jobs(app: FastAPI) -> list[tuple[str, list[Any]]]:
    """Return the names and the arguments of the jobs that are queued."""
    async with app.state.resources.database.reading() as session:
        jobs = await session.scalars(select(QueuedJob).order_by(QueuedJob.id))
        return [(job.name, job.arguments) for job in jobs]


@pytest.fixture
async def outbox(app: FastAPI) -> Outbox:
    return Outbox(app)


def described(html: str, name: str) -> str:
    """Return the messages beside a field."""
    fields = re.findall(rf'<input id="[^"]*" name="{name}"[^>]*>', html)
    (field,) = (field for field in fields if 'aria-invalid="true"' in field)
    (id_,) = re.findall('aria-describedby="([^"]+)"', field)
    (text,) = re.findall(f'<p class="error" id="{id_}">(.*?)</p>', html)
    return str(text)
