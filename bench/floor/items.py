"""Items with asyncpg, without an ORM.

Each operation is one statement, which also checks the session, and is committed when it returns.
The results are JSON in bytes.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from hmac import digest
from typing import Annotated, Any

import asyncpg
from pydantic import MISSING, BaseModel, ConfigDict, Field
from pydantic_core import to_json

from bench.floor.tokens import Principal, Refused

POOL_SIZE = 10  # the project's default
SESSION_IS_ACTIVE = """EXISTS (
    SELECT FROM users u JOIN auth_sessions s ON s.user_id = u.id
    WHERE u.id = $1 AND u.is_active AND s.id = $2 AND s.expires_at > now())"""
COLUMNS = "id, name, description, price, is_offer, owner_id, created_at, updated_at, version"
CHECK = f"SELECT {SESSION_IS_ACTIVE}"
READ = f"SELECT {COLUMNS} FROM items WHERE id = $3 AND owner_id = $1 AND {SESSION_IS_ACTIVE}"
LIST = (
    f"SELECT {COLUMNS} FROM items WHERE owner_id = $1 AND {SESSION_IS_ACTIVE} ORDER BY id LIMIT $3"
)
CREATE = f"""INSERT INTO items
    (name, description, price, is_offer, owner_id, created_at, updated_at, version)
    SELECT $3::text, $4::text, $5::numeric, $6::boolean, $1, now(), now(), 1
    WHERE {SESSION_IS_ACTIVE}
    RETURNING {COLUMNS}"""
UPDATE = f"""UPDATE items SET %s, updated_at = now(), version = version + 1
    WHERE id = $3 AND owner_id = $1 AND {SESSION_IS_ACTIVE} RETURNING {COLUMNS}"""

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Description = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]


class ItemCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name
    description: Description | None = None
    price: Price
    is_offer: bool = False


class ItemUpdate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name | MISSING = MISSING
    description: Description | MISSING | None = MISSING
    price: Price | MISSING = MISSING
    is_offer: bool | MISSING = MISSING


class Items:
    _pool: Any

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        url = os.environ["DATABASE_URL"].replace("+asyncpg", "")
        async with asyncpg.create_pool(
            url, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_skip_reset
        ) as self._pool:
            yield

    async def read(self, principal: Principal, item_id: int) -> bytes:
        return await self._one(READ, principal, item_id)

    async def list(self, principal: Principal, limit: int) -> bytes:
        """Return the first page."""
        rows = await self._pool.fetch(LIST, principal.user_id, principal.session_id, limit + 1)
        if not rows:
            await self._check(principal)
        page = [dict(row) for row in rows[:limit]]
        following = _cursor(page[-1]["id"]) if len(rows) > limit else None
        return to_json({"results": page, "next": following})

    async def create(self, principal: Principal, item: ItemCreate) -> tuple[int, bytes]:
        row = await self._pool.fetchrow(
            CREATE,
            principal.user_id,
            principal.session_id,
            item.name,
            item.description,
            item.price,
            item.is_offer,
        )
        if row is None:
            raise Refused(401)
        return row["id"], to_json(dict(row))

    async def update(self, principal: Principal, item_id: int, changes: ItemUpdate) -> bytes:
        names = sorted(changes.model_fields_set)
        if not names:
            return await self.read(principal, item_id)
        # The names are the model's own: it forbids all others.
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(names, start=4))
        values = [getattr(changes, name) for name in names]
        return await self._one(UPDATE % assignments, principal, item_id, *values)

    async def _one(self, statement: str, principal: Principal, *arguments: object) -> bytes:
        row = await self._pool.fetchrow(
            statement, principal.user_id, principal.session_id, *arguments
        )
        if row is None:
            await self._check(principal)
            raise Refused(404)
        return to_json(dict(row))

    async def _check(self, principal: Principal) -> None:
        """Raise Refused(401) if the session has ended, after a statement that found no row."""
        if not await self._pool.fetchval(CHECK, principal.user_id, principal.session_id):
            raise Refused(401)


async def _skip_reset(_: object) -> None:
    """Skip the reset of a connection, which needs a round trip. No statement changes its state."""


def _cursor(last_id: int) -> str:
    body = urlsafe_b64encode(to_json(["id", [last_id]])).decode()
    return f"{body}.{digest(os.environ['SECRET_KEY'].encode(), body.encode(), 'sha256').hex()}"
