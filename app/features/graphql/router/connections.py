"""Pages in the form of Relay's cursor connections. Cursors are those of the REST API's lists."""

# mypy: disable-error-code=untyped-decorator
# Strawberry's decorators return Any.

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Generic, Protocol, TypeVar

import strawberry
from strawberry.relay import PageInfo

from app.core.database.pagination import Cursors, Page, Sort

ReadT = TypeVar("ReadT")
NodeT = TypeVar("NodeT")
DEFAULT_PAGE_SIZE = 20

First = Annotated[int, strawberry.argument(description="The size of the page, from 1 to 100.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The cursor of an edge: the page starts after it."),
]


@strawberry.type
class Edge(Generic[NodeT]):
    cursor: str
    node: NodeT


@strawberry.type
class Connection(Generic[NodeT]):
    edges: list[Edge[NodeT]]
    page_info: PageInfo
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="The number of nodes on all pages, which requires another query.")
    async def total_count(self) -> int:
        return await self.count()


class Listing(Protocol[ReadT]):
    async def list(self, query: Any, /) -> Page[ReadT]: ...


async def connect(
    service: Callable[[], AbstractAsyncContextManager[Listing[ReadT]]],
    query: Any,
    to_node: Callable[[ReadT], NodeT],
    cursors: Cursors,
) -> Connection[NodeT]:
    """Return the page of a query as a connection. Pages go forward only.

    `service` waits for its turn, and the query is a PageQuery with a sort.
    """

    async def fetch(**changes: Any) -> Page[ReadT]:
        async with service() as listing:
            return await listing.list(query.model_copy(update=changes))

    async def count() -> int:
        counted = await fetch(limit=1, cursor=None, with_total=True)
        assert isinstance(counted.total, int)  # noqa: S101 - for mypy: the query asks for it
        return counted.total

    page, sort = await fetch(), Sort(query.sort)
    edges = [Edge(cursor=cursors.write(sort, row), node=to_node(row)) for row in page.results]
    page_info = PageInfo(
        has_next_page=page.next is not None,
        has_previous_page=query.cursor is not None,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
    return Connection(edges=edges, page_info=page_info, count=count)
