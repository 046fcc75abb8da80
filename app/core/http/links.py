"""Links to the next page of a list."""

from typing import Annotated

from fastapi import Depends, Request

from app.core.database.pagination import Cursors
from app.core.resources import resources_of


async def get_cursors(request: Request) -> Cursors:
    return resources_of(request).cursors


CursorsDep = Annotated[Cursors, Depends(get_cursors)]


def link_to_next(request: Request, cursor: str) -> str:
    """Return a Link header (RFC 8288). It is relative, so that it does not depend on Host."""
    url = request.url.include_query_params(cursor=cursor)
    return f'<{url.path}?{url.query}>; rel="next"'
