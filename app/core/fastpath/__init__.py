"""A faster router for FastAPI, which makes FastAPI's decisions about a route once.

It is optional: only `app/main.py` imports it, LEAN_ROUTES=false switches it off, and the folder can
be deleted. It uses private names of FastAPI and anyio, so it is only active with the versions of
FastAPI that it was tested with. `app routes` lists the routes that it serves.
"""

import logging

import fastapi
from fastapi import FastAPI
from fastapi.routing import RouteContext

TESTED_VERSIONS = ("0.164.", "0.165.")
logger = logging.getLogger("app.fastpath")


def use_fast_path(app: FastAPI) -> None:
    """Put the fast router in front of the application's router."""
    if not fastapi.__version__.startswith(TESTED_VERSIONS):
        logger.warning("FastAPI %s routes by itself: see app/core/fastpath", fastapi.__version__)
        return
    # Other versions may lack the names that it imports.
    from app.core.fastpath.router import LeanRouter

    router = LeanRouter(app)
    app.router.middleware_stack = router
    app.state.build_routes = router.build_routes


def describe_route(route: RouteContext) -> str:
    """Return whether the fast router serves a route, or why it leaves the route to FastAPI."""
    if not fastapi.__version__.startswith(TESTED_VERSIONS):
        return f"FastAPI: {fastapi.__version__} is not tested"
    from app.core.fastpath.router import UnsupportedRoute, plan_of

    try:
        plan_of(route)
    except UnsupportedRoute as error:
        return f"FastAPI: {error}"
    return "fast"
