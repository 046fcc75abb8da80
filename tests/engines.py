"""Let tests on SQLite use the engines of earlier tests, in which the statements are compiled.

Compiling the statements of a few requests takes longer than to run them.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import engine as engines
from app.core.database import unit_of_work

idle = deque[tuple[str, AsyncEngine]](maxlen=8)


def reuse_engines() -> None:
    for create in (engines.create_sqlite_engine, engines.create_sqlite_reader):
        setattr(unit_of_work, create.__name__, reusing(create))


def reusing(create: Callable[..., AsyncEngine]) -> Callable[..., AsyncEngine]:
    """Return a function that returns a disposed engine with the same arguments, or a new one."""

    def create_or_reuse(url: URL, **options: Any) -> AsyncEngine:
        key = repr((create, url, options, engines.SQLITE_BUSY_SECONDS))
        for entry in idle:
            if entry[0] == key:
                idle.remove(entry)
                return entry[1]
        engine = create(url, **options)
        if not Path(url.database or "").is_absolute():
            return engine  # The file is another one in another folder.

        def keep(_: object) -> None:
            if (key, engine) not in idle:
                idle.append((key, engine))

        event.listen(engine.sync_engine, "engine_disposed", keep)
        return engine

    return create_or_reuse
