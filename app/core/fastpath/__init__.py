"""A faster router for FastAPI: it takes once what FastAPI decides at each request.

It is optional: `app/main.py` alone knows it, LEAN_ROUTES=false switches it off, and without this
folder everything works. It relies on names inside of FastAPI and anyio, and so serves only with the
versions of FastAPI that tests/core/fastpath passed with. `python -m app.core.fastpath` lists the
routes that it serves.
"""

import logging

import fastapi
from fastapi import FastAPI

TESTED_VERSIONS = ("0.164.", "0.165.")
logger = logging.getLogger("app.fastpath")


def use_fast_path(app: FastAPI) -> None:
    """Put the fast router in front of the application's."""
    if not fastapi.__version__.startswith(TESTED_VERSIONS):
        logger.warning("FastAPI %s routes by itself: see app/core/fastpath", fastapi.__version__)
        return
    from app.core.fastpath.router import LeanRouter  # it imports names that others may not have

    app.router.middleware_stack = LeanRouter(app)
