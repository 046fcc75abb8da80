"""Scheduled jobs, which are declared by the decorator `@scheduled("0 3 * * *")`.

The first runner that finds a job due queues it and stores the time in one transaction. So each run
happens once, however many processes there are. Runs that were missed while no process was running
are made up for by a single run.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from cronsim import CronSim
from sqlalchemy import BigInteger, String, Text, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.models import Base, UtcDateTime, utc_now
from app.core.database.session import Session
from app.core.database.unit_of_work import Database
from app.core.jobs.queue import JobQueue

# The clocks of two processes may differ by this much. A time that is further ahead was stored by a
# process whose clock was wrong.
CLOCK_TOLERANCE = timedelta(minutes=5)
JobT = TypeVar("JobT", bound=Callable[..., Any])


def scheduled(cron: str) -> Callable[[JobT], JobT]:
    """Run a job without arguments at the times of a cron expression, in UTC."""
    CronSim(cron, utc_now())  # This raises for an invalid expression when the module is imported.

    def mark(job: JobT) -> JobT:
        job.__dict__["cron"] = cron
        return job

    return mark


def schedule_of(job: Callable[..., Any]) -> str | None:
    cron: str | None = getattr(job, "cron", None)
    return cron


class Schedule(Base):
    """The last time that a scheduled job was due and was queued, and the outcome of its last run.

    A run that is tried again after an error has an outcome each time.
    """

    __tablename__ = "job_schedules"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)


class ScheduleStatus(NamedTuple):
    """A scheduled job with its cron expression, its next time and what is stored of it, if any."""

    name: str
    cron: str
    next_due_at: datetime
    stored: Schedule | None


class Schedules:
    """The scheduled jobs of a runner, by name, with their cron expressions."""

    def __init__(self, crons: Mapping[str, str], database: Database) -> None:
        self._crons = crons
        self._database = database
        # The next time to check each job: at first now, since a run may have been missed.
        self._next = dict.fromkeys(crons, datetime.min.replace(tzinfo=utc_now().tzinfo))
        self._checked_at = utc_now()

    async def list(self) -> list[ScheduleStatus]:
        async with self._database.reading() as session:
            stored = {row.name: row for row in await session.scalars(select(Schedule))}
        now = utc_now()
        return [
            ScheduleStatus(name, cron, next(CronSim(cron, now)), stored.get(name))
            for name, cron in sorted(self._crons.items())
        ]

    async def note_run(self, name: str, duration_ms: int, error: str | None) -> None:
        """Store the outcome of a run, if the job is scheduled."""
        if name in self._crons:
            values = {"finished_at": utc_now(), "duration_ms": duration_ms, "error": error}
            async with self._database.transaction() as session:
                statement = update(Schedule).where(Schedule.name == name)
                await session.execute(statement.values(values))

    async def enqueue_due(self) -> None:
        now = utc_now()
        if now < self._checked_at:  # The clock was set back.
            self._next = dict.fromkeys(self._crons, now)
        self._checked_at = now
        for name, cron in self._crons.items():
            if self._next[name] <= now:
                async with self._database.transaction() as session:
                    if await reserve_run(session, name, last_due(cron, now), now):
                        await JobQueue(session).enqueue(name)
                self._next[name] = next(CronSim(cron, now))


def last_due(cron: str, now: datetime) -> datetime:
    """Return the latest time of a cron expression that is not after now."""
    return next(CronSim(cron, now, reverse=True))


async def reserve_run(session: Session, name: str, due: datetime, now: datetime) -> bool:
    """Store that a run is queued, and return whether no other runner has done so.

    A new schedule starts with the next run.
    """
    known = await session.scalar(select(Schedule.last_due_at).where(Schedule.name == name))
    if known is None:
        try:
            async with session.begin_nested():
                await session.execute(insert(Schedule).values(name=name, last_due_at=due))
        except IntegrityError:
            pass  # Another runner was first.
        return False
    is_ahead = Schedule.last_due_at > now + CLOCK_TOLERANCE
    reservation = (
        update(Schedule)
        .where(Schedule.name == name, or_(Schedule.last_due_at < due, is_ahead))
        .values(last_due_at=due)
        .returning(Schedule.name)
    )
    return await session.scalar(reservation) is not None
