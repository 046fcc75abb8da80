"""The verified sessions that an application has in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import event

from app.accounts.session_cache import SessionCache
from tests.waiting import eventually_true

# A request that takes longer was not answered from memory.
LOOK_UP_SECONDS = 1


async def until_cache_is_held(app: FastAPI) -> SessionCache:
    """Wait until the application may answer from memory."""
    cache: SessionCache = app.state.resources.session_cache
    await eventually_true(lambda: cache.is_held)
    return cache


@asynccontextmanager
async def counted_session_look_ups(app: FastAPI) -> AsyncIterator[list[str]]:
    """Record the statements that read sessions from the database."""
    seen = list[str]()

    def see(*arguments: Any) -> None:
        if "auth_sessions" in arguments[2] and "pg_notify" not in arguments[2]:
            seen.append(arguments[2])

    engine = app.state.resources.database.reader.sync_engine
    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)
