"""The four steps as an application of its own, for a database of its own: nobody signs in, and
everybody's items are anybody's. `app lab run` starts it as a process; the main application does not
know it."""

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

from app.core.http.docs import add_docs
from app.core.http.problems import add_exception_handlers
from app.features.lab import pitfalls, step1_sync, step2_trap, step3_bridge, step4_async
from app.features.lab.schemas import ServerOptions
from app.features.lab.service.vitals import Vitals, VitalsRead

KEEP_ALIVE_SECONDS = 600  # a client of the trap may not be looked at for a while


def create_lab_app(options: ServerOptions) -> FastAPI:
    app = FastAPI(title="Sync to async", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.options = options
    app.state.vitals = Vitals()
    add_exception_handlers(app)
    add_docs(app)
    for module in (step1_sync, step2_trap, step3_bridge, step4_async, pitfalls):
        app.include_router(module.router)

    @app.get("/lab/light", tags=["the rest"])
    async def read_light() -> str:
        """Needs neither the database nor a thread: how long it takes is how long the loop does."""
        return "ok"

    @app.post("/lab/vitals", tags=["the rest"])
    async def take_vitals() -> VitalsRead:
        """Since the last time they were taken."""
        vitals: Vitals = app.state.vitals
        return vitals.take()

    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    to_thread.current_default_thread_limiter().total_tokens = state.options.thread_limit
    await to_thread.run_sync(open_engines, state)  # a driver looks for files
    watching = asyncio.create_task(state.vitals.watch())
    yield
    watching.cancel()
    await state.async_engine.dispose()
    await to_thread.run_sync(state.engine.dispose)


def open_engines(state: State) -> None:
    options: ServerOptions = state.options
    url = make_url(options.database_url)
    state.engine = step1_sync.open_engine(url, min(options.thread_limit, options.pool_size))
    state.async_engine = step4_async.open_async_engine(url, options.pool_size)
    for engine in (state.engine, state.async_engine.sync_engine):
        observe(engine, state.vitals, options.query_ms / 1000)


def observe(engine: Engine, vitals: Vitals, seconds: float) -> None:
    """Counts the queries, and makes each take `seconds` longer, in the database."""

    def before_each(_connection: Any, cursor: Any, *_: Any) -> None:
        vitals.queries += 1
        if seconds:
            cursor.execute(f"SELECT pg_sleep({seconds:f})")

    def teach_to_sleep(connection: Any, _: object) -> None:
        connection.create_function("pg_sleep", 1, time.sleep)

    event.listen(engine, "before_cursor_execute", before_each)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", teach_to_sleep)


class LabServer(uvicorn.Server):
    """Says its port when it is ready, and ends with its standard input: whoever started it has
    finished, or has died."""

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
