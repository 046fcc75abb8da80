"""The job queue: a table that jobs are added to within the transaction of a request.

So a rollback removes them, and a commit stores them even if the process dies right after it.
`app.core.jobs.runner` runs them.

A job that may wait for somebody else's server for long has a lane, such as that server's. A process
runs the jobs of a lane one after another, and beside those without a lane.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    ColumnElement,
    Index,
    Select,
    String,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.core.context import request_id_var
from app.core.database.events import Event, Events
from app.core.database.models import Base, Id, UtcDateTime, utc_now
from app.core.database.queries import Query
from app.core.database.repository import Repository
from app.core.database.session import Session
from app.core.jobs.lanes import MAX_QUICK_LANES, MAX_RUNNING_LANES, FreeLanes

QUEUED_TOPIC = "jobs"
MAX_ERROR = 2000
MAX_COUNTED = 10_000
NO_LANE = ""  # No lane has this name.
Argument = int | str


class QueuedJob(Base):
    """A job that is waiting, running or has failed for good. A job that succeeds is deleted."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "has_failed", "run_at", "id"),
        Index(
            None,
            "lane",
            postgresql_where=text("lane IS NOT NULL"),
            sqlite_where=text("lane IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    arguments: Mapped[list[Argument]] = mapped_column(JSON)
    request_id: Mapped[str | None] = mapped_column(String(128))
    unique_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    lane: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # A runner that leases the job sets this to the lease's end, when it is due again if it died.
    run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    has_failed: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(Text)


class Backlog(NamedTuple):
    """The jobs that wait for a runner: how many, up to MAX_COUNTED, and since when the oldest."""

    due: int
    oldest_due_at: datetime | None


class Call(NamedTuple):
    """The arguments of a job, and its lane."""

    arguments: Sequence[Argument]
    lane: str | None = None


class JobQueued(Event):
    """An event that makes a runner read the queue at once, after the commit."""

    type: Literal["job.queued"] = "job.queued"

    @property
    def topic(self) -> str:
        return QUEUED_TOPIC


class JobId(BaseModel):
    id: int


class JobCounts(NamedTuple):
    """The numbers of jobs by state, and the seconds for which the first has been due.

    A job for later is running, waits for another attempt, or was queued with a delay.
    """

    due: float
    later: float
    failed: float
    oldest_due_seconds: float


ENQUEUE = Query(
    insert(QueuedJob)
    .values(
        name=bindparam("name"),
        arguments=bindparam("arguments", type_=JSON),
        request_id=bindparam("request_id"),
        unique_key=bindparam("unique_key"),
        lane=bindparam("lane"),
        created_at=bindparam("now"),
        run_at=bindparam("run_at"),
        attempts=0,
        has_failed=False,
    )
    .returning(QueuedJob.id),
    JobId,
)


def is_quick(lanes: FreeLanes) -> ColumnElement[bool]:
    return QueuedJob.lane.in_(padded(lanes.quick, MAX_QUICK_LANES))


def is_slow(lanes: FreeLanes) -> ColumnElement[bool]:
    others = [*lanes.quick, *lanes.busy]
    known = padded(others, MAX_QUICK_LANES + MAX_RUNNING_LANES)
    return and_(QueuedJob.lane.is_not(None), QueuedJob.lane.not_in(known))


def padded(lanes: Collection[str], length: int) -> list[str]:
    """Return the lanes in a list of a fixed length, so that a statement has one text only."""
    return [*lanes, *[NO_LANE] * (length - len(lanes))]


class JobQueue:
    """Adds jobs to the queue in the transaction of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def enqueue(
        self,
        name: str,
        *arguments: Argument,
        delay: timedelta = timedelta(0),
        unique_key: str | None = None,
        lane: str | None = None,
    ) -> None:
        """Run a job of a slice's `jobs.py` after the commit.

        The job is given by its name, since a service cannot import the jobs that call it. It may
        run twice if a process dies while it runs, so it reads the stored state before it acts. A
        second job with the same `unique_key` raises IntegrityError.
        """
        now = utc_now()
        params = {"now": now, "run_at": now + delay, "name": name, "arguments": [*arguments]}
        params |= {"request_id": request_id_var.get(), "unique_key": unique_key, "lane": lane}
        await self._session.fetch_one(ENQUEUE, params)
        Events(self._session).record(JobQueued())

    async def enqueue_many(self, name: str, calls: Iterable[Call]) -> None:
        """Run a job once for each of the calls, as `enqueue` does, with few statements."""
        now, request_id = utc_now(), request_id_var.get()
        rows = [
            {
                "name": name,
                "arguments": [*call.arguments],
                "lane": call.lane,
                "request_id": request_id,
                "created_at": now,
                "run_at": now,
            }
            for call in calls
        ]
        if rows:
            await self._session.execute(insert(QueuedJob), rows)
            Events(self._session).record(JobQueued())

    async def count_lanes(self, lanes: Collection[str]) -> Counter[str]:
        """Return the number of jobs of each lane that are waiting or running."""
        statement = select(QueuedJob.lane, func.count()).group_by(QueuedJob.lane)
        statement = statement.where(QueuedJob.lane.in_(lanes), ~QueuedJob.has_failed)
        found = await self._session.execute(statement)
        return Counter({lane: count for lane, count in found if lane is not None})

    async def hasten(self, lane: str) -> Sequence[Sequence[Argument]]:
        """Make the jobs of a lane due that were queued for later, and return their arguments.

        Jobs that have been leased before are left alone, since one may be running.
        """
        now = utc_now()
        waiting = select(QueuedJob.id).where(
            QueuedJob.lane == lane,
            ~QueuedJob.has_failed,
            QueuedJob.attempts == 0,
            QueuedJob.run_at > now,
        )
        statement = (
            update(QueuedJob)
            # A locked job has just become due: to wait for its runner could be a deadlock.
            .where(QueuedJob.id.in_(waiting.with_for_update(skip_locked=True)))
            .values(run_at=now)
            .returning(QueuedJob.arguments)
        )
        hastened = (await self._session.scalars(statement)).all()
        if hastened:
            Events(self._session).record(JobQueued())
        return hastened


class JobRepository(Repository[QueuedJob]):
    """The queries by which runners and commands use the queue."""

    model = QueuedJob

    async def has_due(self, names: Collection[str], lanes: FreeLanes) -> bool:
        """Return whether there is a due job without a lane, or of a lane that is free."""
        is_free: ColumnElement[bool] = QueuedJob.lane.is_(None)
        if lanes.total:
            is_free |= is_quick(lanes)
        if lanes.slow:
            is_free |= is_slow(lanes)
        return await self._session.scalar(self._due(names).where(is_free).limit(1)) is not None

    async def backlog(self) -> Backlog:
        due = select(QueuedJob.run_at).where(~QueuedJob.has_failed, QueuedJob.run_at <= utc_now())
        counted = due.order_by(QueuedJob.run_at).limit(MAX_COUNTED).subquery()
        found = await self._session.execute(select(func.count(), func.min(counted.c.run_at)))
        return Backlog(*found.one())

    async def lease_due(
        self, names: Collection[str], limit: int, lease: timedelta
    ) -> Sequence[QueuedJob]:
        """Lease up to `limit` due jobs without a lane. No other runner gets them meanwhile.

        Other names belong to runners that know them, for example those of a newer version.
        """
        due = self._due(names).where(QueuedJob.lane.is_(None)).limit(limit)
        return await self._lease(due.with_for_update(skip_locked=True), lease)

    async def lease_lanes(
        self, names: Collection[str], lanes: FreeLanes, lease: timedelta
    ) -> Sequence[QueuedJob]:
        """Lease one due job of each lane that is free, of the slow ones first."""
        slow = await self._lease_some(names, is_slow(lanes), lanes.slow, lease)
        rest = lanes.total - len(slow)
        return [*slow, *await self._lease_some(names, is_quick(lanes), rest, lease)]

    async def _lease_some(
        self, names: Collection[str], lanes: ColumnElement[bool], limit: int, lease: timedelta
    ) -> Sequence[QueuedJob]:
        """Lease one due job of each of up to `limit` lanes, the one due longest first."""
        if not limit:
            return []
        due = select(func.min(QueuedJob.id).label("id")).where(*self._is_due(names), lanes)
        due = due.group_by(QueuedJob.lane).order_by(func.min(QueuedJob.run_at)).limit(limit)
        return await self._lease(due, lease)

    async def _lease(self, due: Select[int], lease: timedelta) -> Sequence[QueuedJob]:
        # A CTE, since PostgreSQL may run a subquery with a LIMIT more than once.
        found = due.cte("due")
        statement = (
            update(QueuedJob)
            # Of two runners that have found a job at once, the second waits here, and then sees
            # that it is not due any more.
            .where(QueuedJob.id.in_(select(found.c.id)), QueuedJob.run_at <= utc_now())
            .values(run_at=utc_now() + lease, attempts=QueuedJob.attempts + 1)
            .returning(QueuedJob)
        )
        return (await self._session.scalars(statement)).all()

    async def renew(self, ids: Collection[int], lease: timedelta) -> None:
        """Renew the leases of jobs that are still running."""
        statement = update(QueuedJob).where(QueuedJob.id.in_(ids))
        await self._session.execute(statement.values(run_at=utc_now() + lease))

    async def finish(self, job: QueuedJob) -> None:
        await self._session.execute(delete(QueuedJob).where(*self._as_leased(job)))

    async def postpone(self, job: QueuedJob, delay: timedelta, error: str | None) -> None:
        """Run the job again after a delay."""
        values = {"run_at": utc_now() + delay, "error": error and error[:MAX_ERROR]}
        statement = update(QueuedJob).where(*self._as_leased(job))
        await self._session.execute(statement.values(values))

    async def fail(self, job: QueuedJob, error: str) -> None:
        """Mark the job as failed, so that it does not run until `retry`."""
        statement = update(QueuedJob).where(*self._as_leased(job))
        await self._session.execute(statement.values(has_failed=True, error=error[:MAX_ERROR]))

    async def retry(self, id_: int) -> QueuedJob:
        """Queue a failed job again. Raise NotFound if there is no failed job with the ID."""
        statement = (
            update(QueuedJob)
            .where(QueuedJob.id == id_, QueuedJob.has_failed)
            .values(has_failed=False, attempts=0, run_at=utc_now(), created_at=utc_now())
            .returning(QueuedJob)
        )
        job = self.require_found(await self.one_or_none(statement), id_)
        Events(self._session).record(JobQueued())
        return job

    async def discard(self, ids: Collection[int]) -> None:
        """Delete jobs. One that is running runs to its end, but not again."""
        await self._session.execute(delete(QueuedJob).where(QueuedJob.id.in_(ids)))

    async def counts(self) -> JobCounts:
        now = utc_now()
        is_due = (QueuedJob.run_at <= now).label("is_due")
        statement = select(
            QueuedJob.has_failed, is_due, func.count(), func.min(QueuedJob.run_at)
        ).group_by(QueuedJob.has_failed, is_due)
        counts, oldest = Counter[str](), now
        for has_failed, due, count, first in await self._session.execute(statement):
            state = "failed" if has_failed else "due" if due else "later"
            counts[state] += count
            if state == "due":
                oldest = first
        age = (now - oldest).total_seconds()
        return JobCounts(counts["due"], counts["later"], counts["failed"], age)

    async def list(self, limit: int) -> Sequence[QueuedJob]:
        """Return the failed jobs first, then the others in the order in which they are due."""
        order = (QueuedJob.has_failed.desc(), QueuedJob.run_at, QueuedJob.id)
        return (await self._session.scalars(select(QueuedJob).order_by(*order).limit(limit))).all()

    def _due(self, names: Collection[str]) -> Select[int]:
        return (
            select(QueuedJob.id)
            .where(*self._is_due(names))
            .order_by(QueuedJob.run_at, QueuedJob.id)
        )

    def _is_due(self, names: Collection[str]) -> tuple[ColumnElement[bool], ...]:
        return ~QueuedJob.has_failed, QueuedJob.run_at <= utc_now(), QueuedJob.name.in_(names)

    def _as_leased(self, job: QueuedJob) -> tuple[ColumnElement[bool], ...]:
        """Return conditions that match the job unless another runner has leased it since."""
        return QueuedJob.id == job.id, QueuedJob.attempts == job.attempts
