"""Jobs that run at set times: `@scheduled("0 3 * * *")` above a job.

Whichever runner notices first queues the job, in the transaction that notes the time: there is one
run, however many processes there are. What was due while none of them ran is run once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from cronsim import CronSim
from sqlalchemy import String, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.models import Base, UtcDateTime, utc_now
from app.core.database.session import Session
from app.core.database.unit_of_work import Database
from app.core.jobs.queue import JobQueue

JobT = TypeVar("JobT", bound=Callable[..., Any])


def scheduled(cron: str) -> Callable[[JobT], JobT]:
    """Mark a job that takes no arguments to run at the times of a cron expression, in UTC."""
    CronSim(cron, utc_now())  # raises for one that is wrong, as the module is imported

    def mark(job: JobT) -> JobT:
        job.__dict__["cron"] = cron
        return job

    return mark


def schedule_of(job: Callable[..., Any]) -> str | None:
    cron: str | None = getattr(job, "cron", None)
    return cron


class Schedule(Base):
    """When a scheduled job was last queued."""

    __tablename__ = "job_schedules"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_due_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Schedules:
    """The scheduled jobs of a runner, by name, with their cron expressions."""

    def __init__(self, crons: Mapping[str, str], database: Database) -> None:
        self._crons = crons
        self._database = database
        # When each has to be looked at. At first all of them: a run may have been missed.
        self._next = dict.fromkeys(crons, datetime.min.replace(tzinfo=utc_now().tzinfo))

    async def enqueue_due(self) -> None:
        now = utc_now()
        for name, cron in self._crons.items():
            if self._next[name] <= now:
                async with self._database.transaction() as session:
                    if await note_due(session, name, last_due(cron, now)):
                        await JobQueue(session).enqueue(name)
                self._next[name] = next(CronSim(cron, now))


def last_due(cron: str, now: datetime) -> datetime:
    """Return the latest time of a cron expression that is not after now."""
    return next(CronSim(cron, now, reverse=True))


async def note_due(session: Session, name: str, due: datetime) -> bool:
    """Tell whether a run is due that nobody has queued yet, and note that it is queued now.

    A schedule that is new has missed nothing.
    """
    known = await session.scalar(select(Schedule.last_due_at).where(Schedule.name == name))
    if known is None:
        try:
            async with session.begin_nested():
                await session.execute(insert(Schedule).values(name=name, last_due_at=due))
        except IntegrityError:
            pass  # another runner was first
        return False
    noted = (
        update(Schedule)
        .where(Schedule.name == name, Schedule.last_due_at < due)
        .values(last_due_at=due)
        .returning(Schedule.name)
    )
    return await session.scalar(noted) is not None
