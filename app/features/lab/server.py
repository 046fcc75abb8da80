"""An application that serves the four steps on the lab's database, without authentication.

`app lab run` starts it as a process. It is not part of the main application.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy import Engine, event, make_url
from starlette.datastructures import State

from app.core.http.docs import add_bare_pages, add_docs
from app.core.http.problems import add_exception_handlers
from app.features.lab import pitfalls, step1_sync, step2_trap, step3_bridge, step4_async
from app.features.lab.schemas import ServerOptions
from app.features.lab.service.vitals import Vitals, VitalsRead

KEEP_ALIVE_SECONDS = 600  # the trap can leave a connection idle for a long time


def create_lab_app(options: ServerOptions) -> FastAPI:
    app = FastAPI(title="Sync to async", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.options = options
    app.state.vitals = Vitals()
    add_exception_handlers(app)
    add_docs(app)
    add_bare_pages(app)
    for module in (step1_sync, step2_trap, step3_bridge, step4_async, pitfalls):
        app.include_router(module.router)

    @app.get("/lab/light", tags=["the rest"])
    async def read_light() -> str:
        """Return without using the database or a thread. Its latency is that of the event loop."""
        return "ok"

    @app.post("/lab/vitals", tags=["the rest"])
    async def take_vitals() -> VitalsRead:
        """Return the vitals since the previous call."""
        vitals: Vitals = app.state.vitals
        return vitals.take()

    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    to_thread.current_default_thread_limiter().total_tokens = state.options.thread_limit
    await to_thread.run_sync(open_engines, state)  # drivers read files
    monitor = asyncio.create_task(state.vitals.watch())
    yield
    monitor.cancel()
    await state.async_engine.dispose()
    await to_thread.run_sync(state.engine.dispose)


def open_engines(state: State) -> None:
    options: ServerOptions = state.options
    url = make_url(options.database_url)
    state.engine = step1_sync.open_engine(url, min(options.thread_limit, options.pool_size))
    state.async_engine = step4_async.open_async_engine(url, options.pool_size)
    for engine in (state.engine, state.async_engine.sync_engine):
        instrument(engine, state.vitals, options.query_ms / 1000)


def instrument(engine: Engine, vitals: Vitals, seconds: float) -> None:
    """Count the queries, and delay each by `seconds` in the database."""

    def before_query(_connection: Any, cursor: Any, *_: Any) -> None:
        vitals.queries += 1
        if seconds:
            cursor.execute(f"SELECT pg_sleep({seconds:f})")

    def add_sleep_function(connection: Any, _: object) -> None:
        connection.create_function("pg_sleep", 1, time.sleep)

    event.listen(engine, "before_cursor_execute", before_query)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", add_sleep_function)


class LabServer(uvicorn.Server):
    """A server that prints its port when it is ready, and stops when its standard input closes.

    The input closes when the parent process stops the server or dies.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(sys.stdin, self._stop)
        for listener in sockets or ():
            print(listener.getsockname()[1], flush=True)

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        self.should_exit = True


def main() -> None:
    options = ServerOptions.model_validate_json(os.environ[ServerOptions.VARIABLE])
    config = uvicorn.Config(
        create_lab_app(options),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    listener = socket.create_server(("127.0.0.1", options.port), backlog=2048)
    LabServer(config).run([listener])


if __name__ == "__main__":
    main()
