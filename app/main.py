"""The application: `create_app()` puts it together, and its lifespan opens its resources."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError

from app.core.about import DESCRIPTION, NAME
from app.core.config import Settings, get_settings
from app.core.errors import Invalid, TooManyRequests, Unavailable
from app.core.http import health, problem_list
from app.core.http.docs import add_bare_pages, add_docs
from app.core.http.middleware import add_middleware
from app.core.http.openapi import API, forbid_unknown_parameters
from app.core.http.problem_kinds import problem_response
from app.core.http.problems import add_exception_handlers
from app.core.http.rate_limits import limit_by_address
from app.core.observability.loop_guard import LoopGuard
from app.core.observability.tracing import telemetry_config
from app.core.security.passwords import common_words
from app.discovery import discover, optional
from app.resources import Resources, app_resources, serving_metrics

logger = logging.getLogger("app")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application. It opens no resources, which its lifespan does."""
    settings = settings or get_settings()
    pages = optional("app.pages")
    # The pages say how in the reader's language.
    hint = "" if pages else "\n\nTo try it, sign up, then press Authorize."
    app = API(
        title=NAME,
        description=f"{DESCRIPTION}{hint}",
        version="0.1.0",
        openapi_url=None,  # app.core.http.docs serves the document and its pages.
        telemetry=telemetry_config(),
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.build_routes = partial(build_routes, app)
    app.state.warm_up = list[Callable[[], object]]([common_words])
    app.include_router(health.router)
    add_middleware(app, settings)
    add_exception_handlers(app)
    add_api(app, settings)
    if pages:
        pages.add_pages(app)
    else:
        app.include_router(problem_list.router)
    if frontend := optional("app.frontend"):
        frontend.add_frontend(app)
    if settings.metrics_enabled:
        add_metrics(app)
    if settings.environment == "local":
        app.add_middleware(LoopGuard)
    if settings.has_docs:
        add_docs(app)
        if not pages:
            add_bare_pages(app)
    if fastpath := fast_path(settings):
        fastpath.use_fast_path(app)
    return app


def fast_path(settings: Settings) -> ModuleType | None:
    """Return the package of the faster router, if it is there and switched on."""
    return optional("app.core.fastpath") if settings.lean_routes else None


def add_api(app: FastAPI, settings: Settings) -> None:
    dependencies = [Depends(forbid_unknown_parameters)]
    responses: dict[int | str, dict[str, Any]] = {}
    if settings.rate_limit_default:
        # First, so that a refused request costs nothing more.
        dependencies.insert(0, Depends(limit_by_address))
        responses = problem_response(TooManyRequests, "Too many requests from this address")
    elif settings.rate_limit_api_key:
        responses = problem_response(TooManyRequests, "Too many requests with this API key")
    # Routes are matched in their order, and the features get the most requests.
    modules = reversed([*discover("live"), *discover("router")])
    routers = [module.router for module in modules]
    if settings.frontend_dir and (frontend := optional("app.frontend")):
        routers.append(frontend.session)
    for router in routers:
        app.include_router(router, prefix="/api/v1", dependencies=dependencies, responses=responses)


def add_metrics(app: FastAPI) -> None:
    """Measure the requests. The lifespan serves the metrics, on another port."""
    # A server without metrics starts faster if it does not import these.
    from prometheus_client import CollectorRegistry

    from app.core.observability.request_metrics import RequestMetrics

    app.state.request_metrics = CollectorRegistry()
    app.add_middleware(RequestMetrics, registry=app.state.request_metrics)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        app_resources(app.state.settings) as resources,
        serving_metrics(resources, getattr(app.state, "request_metrics", None)),
    ):
        app.state.resources = resources
        await ensure_first_superuser(resources)
        if resources.settings.redis is None:  # Otherwise `app worker` runs them.
            resources.jobs.start()
        is_test = resources.settings.environment == "test"  # Tests start many in one process.
        if not is_test:
            await to_thread.run_sync(app.state.build_routes)
        warming_up = asyncio.create_task(to_thread.run_sync(warm_up, app))
        if is_test:
            await warming_up
        try:
            yield
        finally:
            await warming_up


def build_routes(app: FastAPI) -> None:
    """Build the routes now: FastAPI would at the first request, while all others wait."""
    for _ in iter_route_contexts(app.routes):
        pass


def warm_up(app: FastAPI) -> None:
    """Prepare what few requests need, in a thread, while the server serves others.

    So a worker starts a third faster. A page that is requested within this second reads its
    template on the event loop.
    """
    for step in app.state.warm_up:
        try:
            step()
        except Exception:  # The request that needs it will raise the error again.
            logger.exception("A step of the warm-up failed")
    if app.state.resources.settings.environment != "test":
        freeze_garbage()


def freeze_garbage() -> None:
    """Exempt all present objects from garbage collection, and collect new ones less often.

    The present objects live as long as the process, and visiting them again and again delays
    requests. Of the new ones, one in a hundred is garbage, so that frequent searches do not pay.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def ensure_first_superuser(resources: Resources) -> None:
    """Create the superuser of the settings if there is none yet."""
    superuser = await to_thread.run_sync(lambda: resources.settings.first_superuser)
    if superuser is None:
        return
    try:
        if await resources.accounts.users.ensure_superuser(*superuser):
            is_local = resources.settings.environment == "local"  # `app serve` prints the account
            level = logging.DEBUG if is_local else logging.WARNING
            logger.log(level, "There was no superuser: %s was created.", superuser[0])
    except (Invalid, Unavailable, DBAPIError) as error:  # /health/ready reports the database.
        logger.warning("The first superuser could not be created: %s", error)


app = create_app()
