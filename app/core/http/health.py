"""Health checks for load balancers and orchestrators."""

import asyncio
from datetime import timedelta
from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.core.database.dependencies import DatabaseDep
from app.core.database.migrations import get_migrations
from app.core.database.models import utc_now
from app.core.errors import DatabaseUnavailable
from app.core.http.problem_kinds import problem_response
from app.core.resources import ResourcesDep
from app.core.schemas import Output
from app.core.security.rate_limit import RateLimiterDep

READY_SECONDS = 1  # The driver may take two seconds more, and probes have short time-outs.

NOT_READY = problem_response(DatabaseUnavailable, "The server cannot do its work now")

router = APIRouter(prefix="/health", tags=["health"])


class Health(Output):
    status: Literal["ok", "degraded"] = "ok"


class JobBacklog(Output):
    due: int = Field(description="Jobs that wait for a runner. Up to 10,000 are counted.")
    oldest_seconds: int = Field(description="How long the oldest of them has waited.")


class Readiness(Health):
    jobs: JobBacklog


@router.get("/live")
async def read_liveness() -> Health:
    """Report that the process responds."""
    return Health()


@router.get("/ready", responses=NOT_READY)
async def read_readiness(
    database: DatabaseDep, limiter: RateLimiterDep, resources: ResourcesDep
) -> Readiness:
    """Report whether the database is available, and its schema is not behind the code.

    The status is `degraded` while Redis is unavailable: requests are still served. It does
    not depend on `jobs`, which shows whether the runners of jobs keep up.
    """
    migrations = await run_in_threadpool(get_migrations)
    try:
        async with asyncio.timeout(READY_SECONDS):
            is_behind = await migrations.is_behind(database)
            await database.check_writable()
            backlog = None if is_behind else await resources.jobs.backlog()
    except TimeoutError as error:
        raise DatabaseUnavailable("The database does not answer.") from error
    if backlog is None:
        raise DatabaseUnavailable(
            "The schema of the database is behind the code: run `alembic upgrade head`."
        )
    waited = utc_now() - backlog.oldest_due_at if backlog.oldest_due_at else timedelta(0)
    return Readiness(
        status="ok" if await limiter.is_healthy() else "degraded",
        jobs=JobBacklog(due=backlog.due, oldest_seconds=int(waited.total_seconds())),
    )
