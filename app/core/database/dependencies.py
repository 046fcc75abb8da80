"""Dependencies: the session of a request, or the database for several units of work."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from app.core.database.session import Session
from app.core.database.unit_of_work import Database
from app.core.resources import resources_of


async def get_database(request: Request) -> Database:
    return resources_of(request).database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def get_session(request: Request) -> AsyncIterator[Session]:
    database = resources_of(request).database
    reads = request.method in ("GET", "HEAD")
    async with database.reading() if reads else database.transaction() as session:
        yield session


# scope="function" commits before the response is sent, so that a failed commit is never a 2xx.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
