"""What resolvers need of a request: the services of other features, on one session."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from graphql import DocumentNode
from strawberry.dataloader import DataLoader

from app.accounts.dependencies import require_scopes
from app.core.database.session import Session
from app.core.resources import Resources
from app.core.security.principal import Principal
from app.features.items.dependencies import get_item_service
from app.features.items.schemas import ItemRead
from app.features.items.service import ItemService
from app.features.orders.dependencies import get_order_service
from app.features.orders.service import OrderService

ITEMS_PER_STATEMENT = 250


class GraphqlContext:
    """The services of one request.

    Sibling fields are resolved concurrently, and a session serves one task at a time. So each
    use of a service waits for its turn, and names the scope that it takes.
    """

    def __init__(
        self,
        document: DocumentNode,
        session: Session,
        items: ItemService,
        orders: OrderService,
        principal: Principal,
        resources: Resources,
    ) -> None:
        self.document = document
        self.session = session
        self.cursors = resources.cursors
        self.is_introspection_allowed = resources.settings.has_graphiql
        # Without a cache, a field that follows a mutation in its document sees the change.
        self.items_by_id = DataLoader(
            self._load_items, max_batch_size=ITEMS_PER_STATEMENT, cache=False
        )
        self._items = items
        self._orders = orders
        self._principal = principal
        self._turn = asyncio.Lock()
        self._listed = 0
        self._is_closed = False

    @asynccontextmanager
    async def items(self, scope: str) -> AsyncIterator[ItemService]:
        async with self._turn_with(scope):
            yield self._items

    @asynccontextmanager
    async def orders(self, scope: str) -> AsyncIterator[OrderService]:
        async with self._turn_with(scope):
            yield self._orders

    async def let_others_run(self, size: int) -> None:
        """Let the event loop run other requests before each 250 elements of nested lists.

        The lists of these go on together, so that what their elements refer to is loaded by one
        statement.
        """
        self._listed += size
        for _ in range(self._listed // ITEMS_PER_STATEMENT):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Wait for the current use, and refuse later ones.

        When a field fails, GraphQL does not wait for the others that it has started.
        """
        async with self._turn:
            self._is_closed = True

    @asynccontextmanager
    async def _turn_with(self, scope: str) -> AsyncIterator[None]:
        require_scopes(self._principal, scope)
        async with self._turn:
            if self._is_closed:
                raise RuntimeError("The document has ended.")
            yield

    async def _load_items(self, item_ids: list[int]) -> Sequence[ItemRead | None]:
        async with self.items("items:read") as items:
            found = {item.id: item for item in await items.get_many(set(item_ids))}
        return [found.get(item_id) for item_id in item_ids]


@asynccontextmanager
async def graphql_context(
    document: DocumentNode, principal: Principal, resources: Resources, *, writes: bool
) -> AsyncIterator[GraphqlContext]:
    """Open one session for the whole document. Without `writes`, it refuses to write."""
    database = resources.database
    async with database.transaction() if writes else database.reading() as session:
        context = await build_context(document, session, principal, resources)
        try:
            yield context
        finally:
            await context.close()


async def build_context(
    document: DocumentNode, session: Session, principal: Principal, resources: Resources
) -> GraphqlContext:
    items = await get_item_service(session, principal, resources)
    orders = await get_order_service(session, principal, resources)
    return GraphqlContext(document, session, items, orders, principal, resources)
