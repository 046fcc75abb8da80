"""Five ways to wait for two seconds: one blocks the event loop, and one uses every thread.

The page shows these functions beside their buttons.
"""

import asyncio
import time

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.features.lab.dependencies import require_permission
from app.web.links import page_url
from app.web.navigation import redirect

SECONDS = 2

router = APIRouter(prefix="/lab", dependencies=[Depends(require_permission)])


@router.post("/block_loop")
async def block_loop(request: Request) -> Response:
    time.sleep(SECONDS)
    return to_loop(request)


@router.post("/await_sleep")
async def await_sleep(request: Request) -> Response:
    await asyncio.sleep(SECONDS)
    return to_loop(request)


@router.post("/plain_def")
def plain_def(request: Request) -> Response:
    time.sleep(SECONDS)
    return to_loop(request)


@router.post("/call_in_thread")
async def call_in_thread(request: Request) -> Response:
    await run_in_threadpool(time.sleep, SECONDS)
    return to_loop(request)


@router.post("/fill_threads")
async def fill_threads(request: Request) -> Response:
    threads = to_thread.current_default_thread_limiter().total_tokens
    async with asyncio.TaskGroup() as tasks:
        for _ in range(int(threads * 1.5)):
            tasks.create_task(run_in_threadpool(time.sleep, SECONDS))
    return to_loop(request)


def to_loop(request: Request) -> Response:
    return redirect(page_url(request, "show_lab") + "#loop")
