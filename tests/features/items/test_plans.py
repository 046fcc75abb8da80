"""PostgreSQL reads the pages of lists from indexes."""

from typing import Any, get_args

import pytest
from fastapi import FastAPI
from sqlalchemy import select, text

from app.accounts.ownership import page_query
from app.core.database.filters import like_pattern
from app.core.database.pagination import Sort
from app.core.database.repository import page_params
from app.features.items.models import Item
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemFilter
from tests.conftest import Person, only

SORTS = get_args(ItemFilter.model_fields["sort"].annotation)
INSERT_ITEMS = """INSERT INTO items
    (name, description, price, is_offer, owner_id, created_at, updated_at, version)
    SELECT md5(n::text), 'Of brass: ' || md5((-n)::text), n % 1000, n % 10 = 0, :owner_id,
        now() + n * interval '1 s', now() - n * interval '1 s', 1
    FROM generate_series(1, :count) n"""


async def plan_of(
    app: FastAPI,
    ann: Person,
    sort: Sort,
    *,
    is_first: bool = False,
    count: int = 5000,
    **filters: Any,
) -> str:
    """Return the plan of the first page, or of one in the middle."""
    async with app.state.resources.database.transaction() as session:
        await session.execute(text(INSERT_ITEMS), {"owner_id": ann.id, "count": count})
    async with app.state.resources.database.transaction() as session:
        for name in ("name", "description"):  # VACUUM does the same.
            await session.execute(text(f"SELECT gin_clean_pending_list('ix_items_{name}_trgm')"))
        await session.execute(text("ANALYZE items"))
        item = (await session.scalars(select(Item).order_by(Item.id).offset(2500).limit(1))).one()
        after = None if is_first else sort.position(item)
        params = {"_user_id": ann.id, **filters, **page_params(Item, sort, after, 21)}
        query = page_query(ItemRepository, False, frozenset(filters), sort, is_first=is_first)
        compiled = query.compiled(session.get_bind().dialect)
        connection = await session.connection()
        found = await connection.exec_driver_sql(
            f"EXPLAIN {compiled.sql}", tuple(compiled.arguments(params))
        )
        return "\n".join(found.scalars())


@only("postgresql")
@pytest.mark.parametrize("sort", SORTS)
async def test_page_is_read_from_an_index(app: FastAPI, ann: Person, sort: str) -> None:
    plan = await plan_of(app, ann, Sort(sort))
    by_id = "pk_items" if "pk_items" in plan else "ix_items_owner_id_id"  # She owns all items.
    name = Sort(sort).names[0]
    index = by_id if name == "id" else f"ix_items_owner_id_{name}_id"
    assert f"using {index} on items" in plan
    assert "Sort" not in plan
    assert "Seq Scan on items" not in plan


@only("postgresql")
async def test_search_uses_the_trigram_indexes(app: FastAPI, ann: Person) -> None:
    plan = await plan_of(
        app, ann, Sort("id"), is_first=True, count=20_000, q=like_pattern("c4ca4238a0b9")
    )
    assert "Bitmap Index Scan on ix_items_name_trgm" in plan
    assert "Bitmap Index Scan on ix_items_description_trgm" in plan
