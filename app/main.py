import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import State

from app import admin
from app.accounts.dependencies import build_services, get_visitor
from app.accounts.session_cache import SessionCache, SessionLease
from app.core.config import Settings, get_settings
from app.core.database.pagination import Cursors
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from app.core.http import health
from app.core.http.docs import add_docs
from app.core.http.middleware import add_middleware
from app.core.http.openapi import API, forbid_unknown_parameters
from app.core.http.problems import add_exception_handlers
from app.core.http.rate_limits import limit_by_address
from app.core.jobs.jobs import Jobs
from app.core.jobs.mail import Mailer
from app.core.observability.logging import configure_logging, flush_logs
from app.core.observability.loop_guard import LoopGuard
from app.core.realtime.broadcast import Broadcast
from app.core.realtime.sockets import Sockets
from app.core.security.concurrency import ConcurrencyLimit
from app.core.security.fair_queue import FairQueue
from app.core.security.keys import derive_key
from app.core.security.passwords import Passwords
from app.core.security.rate_limit import RateLimiter
from app.discovery import discover, folders
from app.web import assets, home
from app.web.assets import Assets
from app.web.csrf import SameOrigin
from app.web.error_pages import ErrorPages
from app.web.navigation import Navigation, ResponseException, send_response
from app.web.rendering import Templates

TITLE = "FastAPI template"
# Without OpenTelemetry's SDK there is nobody to tell, which FastAPI finds out at each request.
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False)
SEARCHES_PER_USER = 2
PASSWORD_THREADS = max(1, (os.cpu_count() or 1) // 2)
logger = logging.getLogger("app")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Opens nothing: that is the lifespan's part."""
    settings = settings or get_settings()
    app = API(
        title=TITLE,
        description="Sign up, press Authorize, and make an item.",
        version="0.1.0",
        openapi_url=None,  # nor its pages: app.core.http.docs
        telemetry=None if find_spec("opentelemetry.sdk") else NO_TELEMETRY,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.include_router(health.router)
    app.add_middleware(SameOrigin, settings=settings)
    add_middleware(app, settings)
    app.add_middleware(ErrorPages)
    if settings.environment == "local":
        app.add_middleware(LoopGuard)
    add_exception_handlers(app)
    add_api(app, settings)
    add_pages(app, settings)
    admin.add_admin(app)
    add_docs(app)
    if settings.lean_routes and find_spec("app.core.fastpath"):
        import_module("app.core.fastpath").use_fast_path(app)  # the folder can be deleted
    return app


def add_api(app: FastAPI, settings: Settings) -> None:
    dependencies = [Depends(forbid_unknown_parameters)]
    responses: dict[int | str, dict[str, Any]] = {}
    if settings.rate_limit_default:
        dependencies.insert(0, Depends(limit_by_address))  # what is refused costs nothing more
        responses[429] = {"description": "Too many requests from this address"}
    # The routes are tried in their order, and the features' are asked for most.
    for module in reversed([*discover("live"), *discover("router")]):
        app.include_router(
            module.router, prefix="/api/v1", dependencies=dependencies, responses=responses
        )


def add_pages(app: FastAPI, settings: Settings) -> None:
    app.add_exception_handler(ResponseException, send_response)  # type: ignore[arg-type]  # one of any Exception
    app.include_router(assets.router)
    for router in (home.router, *(module.router for module in pages(settings))):
        app.include_router(router, dependencies=[Depends(get_visitor)])  # each has the bar


def pages(settings: Settings) -> Iterator[ModuleType]:
    """A slice's may name a setting in NEEDS: without that they are not there."""
    for module in discover("pages"):
        needs = getattr(module, "NEEDS", None)
        if needs is None or getattr(settings, needs):
            yield module


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with opened(app.state):
        await to_thread.run_sync(open_pages, app.state)
        await ensure_first_superuser(app.state)
        is_test = app.state.settings.environment == "test"  # which starts a hundred in one process
        if not is_test:
            await to_thread.run_sync(build_routes, app)
        warming_up = asyncio.create_task(to_thread.run_sync(warm_up, app.state))
        if is_test:
            await warming_up
        try:
            yield
        finally:
            await warming_up


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[State]:
    """What lives as long as an app or a command, and belongs to it alone: nothing is global."""
    settings = state.settings
    configure_logging(settings)
    to_thread.current_default_thread_limiter().total_tokens = settings.thread_limit
    await to_thread.run_sync(open_state, state)  # it reads files
    await state.broadcast.start()
    state.sockets.start()
    if settings.session_cache and not state.database.is_sqlite:
        state.session_lease.start()
    try:
        yield state
    finally:
        await state.session_lease.close()
        await state.sockets.close()
        await state.jobs.close()
        await state.broadcast.close()
        await state.rate_limiter.close()
        await state.database.dispose()
        flush_logs()


def open_state(state: State) -> None:
    settings = state.settings
    key = settings.signing_key
    state.cursors = Cursors(derive_key(key, "cursor"))
    redis = settings.redis
    state.broadcast = open_broadcast(redis)
    state.session_cache = SessionCache()
    state.database = Database(settings, state.broadcast.publish, state.session_cache.hear)
    state.session_lease = SessionLease(state.session_cache, state.database)
    state.rate_limiter = RateLimiter(redis, derive_key(key, "rate limit"))
    state.passwords = Passwords(PASSWORD_THREADS)
    state.searches = ConcurrencyLimit(SEARCHES_PER_USER)
    state.hashing = FairQueue(PASSWORD_THREADS)
    state.mailer = Mailer(settings, folders("templates/mail"))
    state.jobs = Jobs((job for module in discover("jobs") for job in module.JOBS), state)
    build_services(state, settings, key)
    state.sockets = Sockets(state.broadcast, state.auth.active_session_ids)


def open_broadcast(redis_url: str | None) -> Broadcast:
    if redis_url is None:
        return Broadcast()
    # A server without it starts faster.
    from app.core.realtime.redis_broadcast import RedisBroadcast

    return RedisBroadcast(redis_url)


def open_pages(state: State) -> None:
    state.assets = Assets(folders("static"))
    links = (link for module in pages(state.settings) for link in module.LINKS)
    state.navigation = Navigation(state.settings, (*links, *admin.LINKS))
    state.templates = Templates(
        folders("templates"),
        site=TITLE,
        asset=state.assets.url,
        links_for=state.navigation.links_for,
    )
    state.admin.share(asset=state.assets.url)


def build_routes(app: FastAPI) -> None:
    """FastAPI would at the first request that comes to each router, while the others wait."""
    for _ in iter_route_contexts(app.routes):
        pass


def warm_up(state: State) -> None:
    """What few requests need, while others are served: a worker starts a third faster. A page that
    is asked for within this second has its template read on the event loop."""
    for step in (state.jobs.open, state.templates.compile, state.admin.compile):
        try:
            step()
        except Exception:  # what is wrong is so again where it is asked for
            logger.exception("Not all is ready")
    if state.settings.environment != "test":
        freeze_garbage()


def freeze_garbage() -> None:
    """What is there by now stays: the collector need not look at it again and again, while
    requests wait. One in a hundred is garbage, which took longer to find than it is worth."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def ensure_first_superuser(state: State) -> None:
    superuser = await to_thread.run_sync(lambda: state.settings.first_superuser)
    if superuser is None:
        return
    try:
        if await state.users.ensure_superuser(*superuser):
            logger.warning("There was no superuser: %s was created.", superuser[0])
    except (Unavailable, DBAPIError) as error:  # /health/ready says so until it is mended
        logger.warning("The first superuser could not be made: %s", error)


app = create_app()
