"""The undo of deletions: copies of rows, which are made before the rows are deleted.

The rows themselves are deleted, so that no other query has to know of rows that only seem to be.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import Base64UrlBytes, TypeAdapter
from pydantic_core import to_jsonable_python
from sqlalchemy import JSON, ColumnElement, exists, false, inspect, or_, select

from app.accounts.models import UndoRecord
from app.core.database.models import Base, utc_now
from app.core.database.repository import Repository, adapter_of
from app.core.errors import NotFound

LIFETIME = timedelta(hours=1)


class UndoRepository(Repository[UndoRecord]):
    model = UndoRecord

    async def save(
        self, user_id: int, table: type[Base], rows: Sequence[Mapping[str, Any]]
    ) -> UUID:
        """Save copies of rows, and return the ID by which the user can take them."""
        record = UndoRecord(
            user_id=user_id,
            table_name=table.__tablename__,
            rows=[to_jsonable_python(row, bytes_mode="base64") for row in rows],
            expires_at=utc_now() + LIFETIME,
        )
        return (await self.add(record)).id

    async def take(self, id_: UUID, user_id: int, table: type[Base]) -> Sequence[dict[str, Any]]:
        """Return the rows, or none when they have been taken. Of several calls, one gets them.

        Raise NotFound when there are no copies, or no longer.
        """
        conditions = (
            UndoRecord.id == id_,
            UndoRecord.user_id == user_id,
            UndoRecord.table_name == table.__tablename__,
            UndoRecord.expires_at > utc_now(),
        )
        record = await self.one_or_none(select(UndoRecord).where(*conditions).with_for_update())
        if record is None:
            raise NotFound("This deletion can no longer be undone.")
        rows, record.rows = record.rows, []
        return [_parse(table, row) for row in rows]

    async def has_dependents(self, table: type[Base], ids: Collection[int]) -> bool:
        """Return whether the database deletes or changes other rows together with these."""
        columns = [
            key.parent
            for other in Base.metadata.tables.values()
            for key in other.foreign_keys
            if key.ondelete and key.column.table is table.__table__
        ]
        found: list[ColumnElement[bool]] = [exists().where(each.in_(ids)) for each in columns]
        return bool(await self._session.scalar(select(or_(false(), *found))))

    async def clean_up(self) -> int:
        return await self.delete_some(UndoRecord.expires_at <= utc_now())


def _parse(table: type[Base], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a copy as the model has them.

    A deployment since then can have added columns and removed others.
    """
    return {
        name: None if row[name] is None else _adapter_of(column.type).validate_python(row[name])
        for name, column in inspect(table).columns.items()
        if name in row
    }


def _adapter_of(type_: Any) -> TypeAdapter[Any]:
    if isinstance(type_, JSON):
        return adapter_of(Any)
    return adapter_of(Base64UrlBytes if type_.python_type is bytes else type_.python_type)
