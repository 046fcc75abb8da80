"""Keyset pages, turned both ways: what comes before a page is the opposite sort's, from its first
row on."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from app.core.database.pagination import Cursors, Page, Sort

RowT = TypeVar("RowT")


class PageWithPrevious(NamedTuple, Generic[RowT]):
    """`next` is for ?cursor=, as in the API, and `previous` for ?before=."""

    results: Sequence[RowT]
    previous: str | None
    next: str | None


async def page_with_previous(
    list_page: Callable[[Any], Awaitable[Page[RowT]]], query: Any, before: str, cursors: Cursors
) -> PageWithPrevious[RowT]:
    """The page of `query`, or when there is `before`, the one that ends there.

    It is listed once; only when all that was before has gone meanwhile, the first page comes in
    its place.
    """
    sort, opposite = query.sort, query.sort[1:] if query.sort[0] == "-" else f"-{query.sort}"
    if before:
        page = await list_page(query.model_copy(update={"sort": opposite, "cursor": before}))
        if rows := page.results[::-1]:
            return PageWithPrevious(rows, page.next, cursors.write(Sort(sort), rows[-1]))
    page, previous = await list_page(query), None
    if query.cursor and page.results:
        previous = cursors.write(Sort(opposite), page.results[0])
    return PageWithPrevious(page.results, previous, page.next)
