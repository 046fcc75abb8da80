"""Helpers for the slices' commands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import typer
from sqlalchemy.exc import DBAPIError

from app.core.database.errors import one_line
from app.core.errors import AppError
from app.core.resources import Resources

ResultT = TypeVar("ResultT")
OpenResources = Callable[[], AbstractAsyncContextManager[Resources]]


def run(context: typer.Context, work: Callable[[Resources], Awaitable[ResultT]]) -> ResultT:
    """Run an async function with the application's resources.

    An expected error ends the program with one line instead of a traceback.
    """
    open_resources: OpenResources = context.obj

    async def with_resources() -> ResultT:
        async with open_resources() as resources:
            return await work(resources)

    try:
        return asyncio.run(with_resources())
    except AppError as error:
        raise SystemExit(one_line(error)) from None
    except DBAPIError as error:
        raise SystemExit(
            f"{error.orig}. Has the database been migrated? Run `app db upgrade`."
        ) from None


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines, with their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
