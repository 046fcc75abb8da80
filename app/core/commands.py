"""What the slices' commands have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import typer
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import State

from app.core.errors import AppError

ResultT = TypeVar("ResultT")
OpenState = Callable[[], AbstractAsyncContextManager[State]]


def run(context: typer.Context, work: Callable[[State], Awaitable[ResultT]]) -> ResultT:
    """Errors are one line, and not a traceback."""
    open_state: OpenState = context.obj

    async def within_state() -> ResultT:
        async with open_state() as state:
            return await work(state)

    try:
        return asyncio.run(within_state())
    except AppError as error:
        raise SystemExit(error.detail) from None
    except DBAPIError as error:
        raise SystemExit(f"{error.orig} (`app db upgrade`?)") from None
