"""Steps that the tests of jobs share."""

from collections.abc import Sequence

from sqlalchemy import select

from app.core.jobs.queue import QueuedJob
from app.core.jobs.runner import Job, JobRunner
from app.resources import Resources


def runner_of(resources: Resources, *jobs: Job) -> JobRunner:
    runner = JobRunner(jobs, resources.database, resources.broadcast)
    runner.resources = resources
    return runner


async def queued_jobs(resources: Resources) -> Sequence[QueuedJob]:
    async with resources.database.reading() as session:
        return (await session.scalars(select(QueuedJob).order_by(QueuedJob.id))).all()
