"""The resources that live as long as an application or a command, in one typed object.

They are not globals, so that several applications can run in one process, as in the tests.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread

from app.accounts.dependencies import AccountServices, build_services
from app.accounts.memory import Absences
from app.accounts.session_cache import SessionCache, SessionLease, forget_changed
from app.core.config import Settings
from app.core.database.pagination import Cursors
from app.core.database.startup import check_clock
from app.core.database.unit_of_work import Database
from app.core.jobs.mail import Mailer
from app.core.jobs.runner import JobRunner
from app.core.observability.logging import configure_logging, flush_logs
from app.core.realtime.broadcast import Broadcast
from app.core.realtime.sockets import Sockets
from app.core.security.concurrency import ConcurrencyLimit
from app.core.security.fair_queue import FairQueue
from app.core.security.keys import derive_key
from app.core.security.passwords import Passwords
from app.core.security.rate_limit import RateLimiter
from app.core.storage.folder import LocalFolder
from app.core.storage.storage import Storage
from app.core.translation import mark
from app.discovery import discover, folders

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SEARCHES_PER_USER = 2
UPLOADS_PER_USER = 2
TOO_MANY_SEARCHES = mark("{limit} searches are in progress, which is the limit. Wait for one.")
TOO_MANY_UPLOADS = mark("{limit} uploads are in progress, which is the limit. Wait for one.")
PASSWORD_THREADS = max(1, (os.cpu_count() or 1) // 2)


KeptT = TypeVar("KeptT")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything that is opened once and shared by all requests."""

    settings: Settings
    database: Database
    cursors: Cursors
    broadcast: Broadcast
    sockets: Sockets
    rate_limiter: RateLimiter
    searches: ConcurrencyLimit
    uploads: ConcurrencyLimit
    passwords: Passwords
    hashing: FairQueue
    mailer: Mailer
    jobs: JobRunner
    storage: Storage
    session_cache: SessionCache
    absences: Absences
    session_lease: SessionLease
    accounts: AccountServices
    _kept: dict[Callable[..., Any], Any] = field(default_factory=dict)

    async def keep(self, build: Callable[["Resources"], KeptT]) -> KeptT:
        """Return what a feature keeps as long as the application.

        It is built at its first use, in a thread, since its imports read files.
        """
        if build not in self._kept:
            built = await to_thread.run_sync(build, self)
            self._kept.setdefault(build, built)  # Another request may have been faster.
        kept: KeptT = self._kept[build]
        return kept


@asynccontextmanager
async def app_resources(
    settings: Settings, *, checks_clock: bool = True
) -> AsyncIterator[Resources]:
    """Open the resources, and close them at the end of the block, those that use others first."""
    configure_logging(settings)
    to_thread.current_default_thread_limiter().total_tokens = settings.thread_limit
    resources = await to_thread.run_sync(build_resources, settings)  # It reads files.
    await resources.broadcast.start()
    resources.sockets.start()
    if settings.session_cache and not resources.database.is_sqlite:
        resources.session_lease.start()
    try:
        if checks_clock:
            await check_clock(settings, resources.database)
        yield resources
    finally:
        await resources.session_lease.close()
        await resources.sockets.close()
        await resources.jobs.close()
        await resources.broadcast.close()
        await resources.rate_limiter.close()
        await resources.database.dispose()
        flush_logs()


def serving_metrics(
    resources: Resources, requests: "CollectorRegistry | None" = None
) -> AbstractAsyncContextManager[None]:
    """Serve the metrics of this process during the block, if they are enabled."""
    if not resources.settings.metrics_enabled:
        return nullcontext()
    from app.core.observability import metrics  # A server without metrics starts faster without it.

    return metrics.serving_metrics(resources, requests)


def build_resources(settings: Settings) -> Resources:
    key = settings.signing_key
    broadcast = build_broadcast(settings.redis)
    session_cache, absences = SessionCache(), Absences()
    job_modules = [*discover("jobs")]
    database = Database(
        settings, broadcast.publish, partial(forget_changed, session_cache, absences)
    )
    cursors = Cursors(derive_key(key, "cursor"))
    rate_limiter = RateLimiter(settings.redis, derive_key(key, "rate limit"))
    passwords, hashing = Passwords(PASSWORD_THREADS), FairQueue(PASSWORD_THREADS)
    mailer = Mailer(settings, folders("templates/mail"), rate_limiter)
    jobs = JobRunner((job for module in job_modules for job in module.JOBS), database, broadcast)
    storage = build_storage(settings)
    accounts = build_services(
        settings,
        database=database,
        cursors=cursors,
        rate_limiter=rate_limiter,
        passwords=passwords,
        hashing=hashing,
        mailer=mailer,
        session_cache=session_cache,
        storage=storage,
    )
    resources = Resources(
        settings=settings,
        database=database,
        cursors=cursors,
        broadcast=broadcast,
        sockets=Sockets(broadcast, accounts.auth.active_session_ids),
        rate_limiter=rate_limiter,
        searches=ConcurrencyLimit(SEARCHES_PER_USER, TOO_MANY_SEARCHES),
        uploads=ConcurrencyLimit(UPLOADS_PER_USER, TOO_MANY_UPLOADS),
        passwords=passwords,
        hashing=hashing,
        mailer=mailer,
        jobs=jobs,
        storage=storage,
        session_cache=session_cache,
        absences=absences,
        session_lease=SessionLease(session_cache, absences, database),
        accounts=accounts,
    )
    jobs.resources = resources
    database.before_commit = [
        partial(call, resources)
        for module in job_modules
        for call in getattr(module, "BEFORE_COMMIT", ())
    ]
    return resources


def build_broadcast(redis_url: str | None) -> Broadcast:
    if redis_url is None:
        return Broadcast()
    # A server without Redis starts faster if it does not import the client.
    from app.core.realtime.redis_broadcast import RedisBroadcast

    return RedisBroadcast(redis_url)


def build_storage(settings: Settings) -> Storage:
    if settings.s3_bucket is None:
        return LocalFolder(settings.storage_folder)
    # The library is imported only where it is used.
    from app.core.storage.bucket import Bucket

    return Bucket(settings)
