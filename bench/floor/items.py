"""Items with asyncpg, by hand: one statement does the work and checks the caller, and is committed
when it returns. Answers are bytes, ready to be sent."""

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

from bench.floor.tokens import Caller, Refused

POOL_SIZE = 10  # the project's default
LIVE = """EXISTS (
    SELECT FROM users u JOIN auth_sessions s ON s.user_id = u.id
    WHERE u.id = $1 AND u.is_active AND s.id = $2 AND s.expires_at > now())"""
COLUMNS = "id, name, description, price, is_offer, owner_id, created_at, updated_at, version"
CHECK = f"SELECT {LIVE}"
READ = f"SELECT {COLUMNS} FROM items WHERE id = $3 AND owner_id = $1 AND {LIVE}"
LIST = f"SELECT {COLUMNS} FROM items WHERE owner_id = $1 AND {LIVE} ORDER BY id LIMIT $3"
CREATE = f"""INSERT INTO items
    (name, description, price, is_offer, owner_id, created_at, updated_at, version)
    SELECT $3::text, $4::text, $5::numeric, $6::boolean, $1, now(), now(), 1 WHERE {LIVE}
    RETURNING {COLUMNS}"""
UPDATE = f"""UPDATE items SET %s, updated_at = now(), version = version + 1
    WHERE id = $3 AND owner_id = $1 AND {LIVE} RETURNING {COLUMNS}"""

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
    async def opened(self, _: object) -> AsyncIterator[None]:
        url = os.environ["DATABASE_URL"].replace("+asyncpg", "")
        async with asyncpg.create_pool(
            url, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_keep
        ) as self._pool:
            yield

    async def read(self, caller: Caller, item_id: int) -> bytes:
        return await self._one(READ, caller, item_id)

    async def list(self, caller: Caller, limit: int) -> bytes:
        """The first page."""
        rows = await self._pool.fetch(LIST, caller.user_id, caller.session_id, limit + 1)
        if not rows:
            await self._check(caller)
        page = [dict(row) for row in rows[:limit]]
        following = _cursor(page[-1]["id"]) if len(rows) > limit else None
        return to_json({"results": page, "next": following})

    async def create(self, caller: Caller, item: ItemCreate) -> tuple[int, bytes]:
        row = await self._pool.fetchrow(
            CREATE,
            caller.user_id,
            caller.session_id,
            item.name,
            item.description,
            item.price,
            item.is_offer,
        )
        if row is None:
            raise Refused(401)
        return row["id"], to_json(dict(row))

    async def update(self, caller: Caller, item_id: int, changes: ItemUpdate) -> bytes:
        names = sorted(changes.model_fields_set)
        if not names:
            return await self.read(caller, item_id)
        # The names are the model's own: it forbids all others.
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(names, start=4))
        values = [getattr(changes, name) for name in names]
        return await self._one(UPDATE % assignments, caller, item_id, *values)

    async def _one(self, statement: str, caller: Caller, *arguments: object) -> bytes:
        row = await self._pool.fetchrow(statement, caller.user_id, caller.session_id, *arguments)
        if row is None:
            await self._check(caller)
            raise Refused(404)
        return to_json(dict(row))

    async def _check(self, caller: Caller) -> None:
        """Nothing was found: was it the session?"""
        if not await self._pool.fetchval(CHECK, caller.user_id, caller.session_id):
            raise Refused(401)


async def _keep(_: object) -> None:
    """No statement here changes the connection: resetting it would be a second round trip."""


def _cursor(last_id: int) -> str:
    body = urlsafe_b64encode(to_json(["id", [last_id]])).decode()
    return f"{body}.{digest(os.environ['SECRET_KEY'].encode(), body.encode(), 'sha256').hex()}"
