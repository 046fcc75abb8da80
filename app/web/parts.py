"""Parts of pages that other slices add: their `pages` modules declare them in PAGE_PARTS."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

from starlette.requests import Request

from app.web.site import site_of

Place = Literal["sign-in", "second factor", "confirmation"]


class PagePart(NamedTuple):
    """A template that the page includes, with what `context` returns. None leaves the part out."""

    place: Place
    template: str
    context: Callable[[Request], Awaitable[Mapping[str, Any] | None]]


async def page_parts(request: Request, place: Place) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the templates of a place, each with its context."""
    parts = [part for part in site_of(request).parts if part.place == place]
    found = [(part.template, await part.context(request)) for part in parts]
    return [(template, context) for template, context in found if context is not None]
