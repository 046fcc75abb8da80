"""Lists of owned rows: a page at a time, or all rows for an export."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, Generic, TypeVar

from app.accounts.ownership import OwnedRepository
from app.core.database.pagination import Page, Sort
from app.core.database.unit_of_work import UnitsOfWork
from app.core.resources import Resources
from app.core.schemas import Output

ReadT = TypeVar("ReadT", bound=Output)
EXPORT_PAGE_SIZE = 1000


class OwnedListing(Generic[ReadT]):
    """Lists the rows of a repository.

    The number of concurrent searches and exports of each user is limited, since they can read every
    row of the table.
    """

    def __init__(self, repository: OwnedRepository[Any, ReadT], resources: Resources) -> None:
        self._repository = repository
        self._resources = resources

    async def page(self, query: Any) -> Page[ReadT]:
        """Return the page of a query, which is a PageQuery with a sort and filters.

        No connection is held while a search waits for its turn.
        """
        is_count = query.with_total and query.total_limit is None
        is_search = is_count or getattr(query, "q", None) is not None
        cursors = self._resources.cursors
        async with self._search() if is_search else nullcontext():
            sort = Sort(query.sort)
            after = cursors.read(query.cursor, sort)
            page = await self._repository.list(query, sort, after, query.limit + 1)
            total = await self._total(query, page) if query.with_total else None
        page_type: type[Page[ReadT]] = Page[self._repository.schema]  # type: ignore[name-defined]  # known when it runs
        return cursors.page(page_type, page, query.limit, sort, total)

    def _search(self) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of a search of this user."""
        return self._resources.searches.hold(self._repository.principal.user_id)

    async def _total(self, query: Any, page: Sequence[ReadT]) -> int:
        """Count the rows, unless the first page has all of them."""
        if query.cursor is None and len(page) <= query.limit:
            return len(page)
        return await self._repository.total(query, query.total_limit)

    async def export(self, query: Any) -> AsyncIterator[Sequence[ReadT]]:
        """Yield all rows that match the filters of a query, a thousand at a time.

        No connection is held between two pages, so changes made meanwhile show from the next page
        on.
        """
        build = partial(type(self._repository), principal=self._repository.principal)
        units = UnitsOfWork(build, self._resources.database)
        sort, after, is_last = Sort(query.sort), None, False
        while not is_last:
            async with self._search(), units.reading() as rows:
                page = await rows.list(query, sort, after, EXPORT_PAGE_SIZE)
            is_last = len(page) < EXPORT_PAGE_SIZE
            after = None if is_last else sort.position(page[-1])
            yield page
            del page  # frees the memory before the next page is read
