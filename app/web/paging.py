"""Keyset pages with a link to the previous page, which is a page in the opposite order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import MISSING

from app.core.database.pagination import Cursors, Page, Sort

RowT = TypeVar("RowT")


class PageWithPrevious(NamedTuple, Generic[RowT]):
    """A page, with the cursor of the next one (`?cursor=`) and the previous one (`?before=`)."""

    results: Sequence[RowT]
    previous: str | None
    next: str | None
    total: int | MISSING


async def page_with_previous(
    list_page: Callable[[Any], Awaitable[Page[RowT]]], query: Any, before: str, cursors: Cursors
) -> PageWithPrevious[RowT]:
    """Return the page of the query or, if `before` is given, the page that ends there.

    If every row before `before` has been deleted in the meantime, it is the page of the query.
    """
    sort, opposite = query.sort, query.sort[1:] if query.sort[0] == "-" else f"-{query.sort}"
    if before:
        page = await list_page(query.model_copy(update={"sort": opposite, "cursor": before}))
        if rows := page.results[::-1]:
            return PageWithPrevious(
                rows, page.next, cursors.write(Sort(sort), rows[-1]), page.total
            )
    page, previous = await list_page(query), None
    if query.cursor and page.results:
        previous = cursors.write(Sort(opposite), page.results[0])
    return PageWithPrevious(page.results, previous, page.next, page.total)
