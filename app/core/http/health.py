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
from app.core.errors import DatabaseUnavailable, Overloaded
from app.core.http.problem_kinds import problem_response
from app.core.resources import ResourcesDep
from app.core.schemas import Output
from app.core.security.rate_limit import RateLimiterDep

READY_SECONDS = 1  # The driver may take two seconds more, and probes have short time-outs.
# No connection is in use for so long by itself: its statements end at their time-outs.
STUCK_SECONDS = 60

NOT_READY = problem_response(DatabaseUnavailable, "The server cannot do its work now")
STUCK = problem_response(Overloaded, "The process should be restarted")

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


@router.get("/stuck", responses=STUCK)
async def read_stuck(resources: ResourcesDep) -> Health:
    """Report whether requests can still get a connection to the database.

    The response is 503 when requests have waited for one, and none was returned for 60 seconds, or
    for twice DATABASE_STATEMENT_TIMEOUT if that is longer. Restart the process then. It stays 200
    while the database is unavailable, since a restart would not help.
    """
    limit = max(STUCK_SECONDS, 2 * resources.settings.database_statement_timeout)
    if any(pool.stalled_seconds() > limit for pool in resources.database.pools.values()):
        raise Overloaded("All connections to the database are in use, and none is returned.")
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
            "The schema of the database is behind the code: run `app db upgrade`."
        )
    waited = utc_now() - backlog.oldest_due_at if backlog.oldest_due_at else timedelta(0)
    return Readiness(
        status="ok" if await limiter.is_healthy() else "degraded",
        jobs=JobBacklog(due=backlog.due, oldest_seconds=int(waited.total_seconds())),
    )
