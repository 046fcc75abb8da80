import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from shutil import rmtree
from typing import Any

import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.models import AuthSession, User
from app.accounts.service import codes
from app.core.config import Settings
from app.core.database.models import utc_now
from app.core.jobs.queue import QueuedJob
from tests.conftest import PASSWORD, Person

FACTOR = "/api/v1/users/me/second-factor"
CONFIRM = "/api/v1/auth/confirm"


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


async def verify_address(app: FastAPI, *people: Person, is_verified: bool = True) -> None:
    """Let people have confirmed their addresses, or not."""
    ids, at = [person.id for person in people], utc_now() if is_verified else None
    async with app.state.resources.database.transaction() as session:
        statement = update(User).where(User.id.in_(ids))
        await session.execute(statement.values(email_verified_at=at))


class Authenticator:
    """An authenticator app. Its clock is the server's, and stands still until `step` changes."""

    def __init__(self) -> None:
        self.secret = ""
        self.recovery_codes = list[str]()
        self.step = int(utc_now().timestamp()) // 30

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.step * 30, UTC)

    def code(self, drift: int = 0) -> str:
        return pyotp.TOTP(self.secret).generate_otp(self.step + drift)

    def next_code(self) -> str:
        """Return the code of the next time step, which has come."""
        self.step += 1
        return self.code()

    def wrong_code(self) -> str:
        """Return a code of no step around this one."""
        right = {self.code(drift) for drift in range(-3, 4)}
        return next(
            code for code in ("000000", *map(str, range(111111, 111119))) if code not in right
        )

    async def set_up(self, person: Person) -> None:
        begun = await person.client.post(f"{FACTOR}/set-up", json={"current_password": PASSWORD})
        assert begun.status_code == 200, begun.text
        self.secret = begun.json()["secret"]
        body = {"token": begun.json()["token"], "code": self.code()}
        enabled = await person.client.post(FACTOR, json=body)
        assert enabled.status_code == 201, enabled.text
        self.recovery_codes = enabled.json()["recovery_codes"]


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Authenticator:
    authenticator = Authenticator()
    monkeypatch.setattr(codes, "utc_now", authenticator.now)
    return authenticator


@pytest.fixture
def _no_files(settings: Settings) -> Iterator[None]:
    """Delete the files after the test, as the rows of the database are."""
    yield
    rmtree(settings.storage_folder, ignore_errors=True)


async def set_age(app: FastAPI, minutes: float | None) -> None:
    """Let sessions have been confirmed that many minutes ago, or never."""
    at = None if minutes is None else utc_now() - timedelta(minutes=minutes)
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(AuthSession).values(confirmed_at=at, factor_confirmed_at=at))


def described(html: str, name: str) -> str:
    """Return the messages beside a field."""
    fields = re.findall(rf'<input id="[^"]*" name="{name}"[^>]*>', html)
    (field,) = (field for field in fields if 'aria-invalid="true"' in field)
    (id_,) = re.findall('aria-describedby="([^"]+)"', field)
    (text,) = re.findall(f'<p class="error" id="{id_}">(.*?)</p>', html)
    return str(text)
