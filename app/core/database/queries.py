"""Statements built once, at import, and run many times: to build and compile one costs more than
PostgreSQL needs to answer it.

    COLUMNS = columns_of(Item, ItemRead)
    GET = Query(select(*COLUMNS).where(Item.id == bindparam("item_id")), ItemRead)
    ...
    item = await session.fetch_one(GET, {"item_id": 7})
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import (
    Delete,
    Dialect,
    Float,
    Insert,
    Numeric,
    Select,
    Update,
)
from sqlalchemy.orm import RelationshipProperty

from app.core.database.models import Base

RowT = TypeVar("RowT", bound=BaseModel)
Params = Mapping[str, Any]
Processors = tuple[tuple[str, Callable[[Any], Any]], ...]


# What changes something, as far as its text shows: a function may, too.
WRITE = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:"
    r"(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP|COPY|CALL|DO|REFRESH)\b"
    r"|WITH\b.*\b(?:INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO"
    r"|UPDATE\s+(?:ONLY\s+)?\S+(?:\s+(?:AS\s+)?\S+)?\s+SET)\b)",
    re.IGNORECASE | re.DOTALL,
)


class Query(Generic[RowT]):
    """A SELECT, or an INSERT, UPDATE or DELETE with RETURNING, and the shape of its rows.

    What varies is a `bindparam`. PostgreSQL plans it once for all values, unless `custom_plan`.
    """

    def __init__(
        self,
        statement: Select[Any] | Insert | Update | Delete,
        row: type[RowT],
        *,
        custom_plan: bool = False,
    ) -> None:
        unknown = {column.key for column in statement.exported_columns} - {*row.model_fields}
        if unknown:  # a relationship has no name here, and would be a join without a condition
            raise TypeError(f"{row.__name__} has no fields for the columns {unknown}.")
        self._statement = statement
        self._rows = TypeAdapter(list[row])  # type: ignore[valid-type]  # known when it runs
        self._compiled = dict[str, Compiled]()
        self.custom_plan = custom_plan

    def compiled(self, dialect: Dialect) -> "Compiled":
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = _compile(
                self._statement, dialect, custom_plan=self.custom_plan
            )
        return self._compiled[dialect.name]

    def shape(self, rows: Sequence[Params]) -> list[RowT]:
        shaped: list[RowT] = self._rows.validate_python(rows)
        return shaped


def columns_of(model: type[Base], row: type[BaseModel]) -> list[Any]:
    """Return the columns of the model that the shape has: no other is read."""
    columns = [getattr(model, name) for name in row.model_fields]
    for column in columns:
        if isinstance(column.property, RelationshipProperty):
            raise TypeError(
                f"{column} is a relationship: load it with select() and selectinload()."
            )
    return columns


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a driver takes: the text, its values in their order, and what to make of the answer."""

    sql: str
    writes: bool
    table: Any  # that an INSERT, UPDATE or DELETE changes; None for others
    custom_plan: bool
    names: tuple[str, ...]
    constants: Params
    binders: Processors
    columns: tuple[str, ...]
    readers: Processors

    def arguments(self, params: Params) -> list[Any]:
        values = {**self.constants, **params}
        for name, bind in self.binders:
            values[name] = bind(values[name])
        return [values[name] for name in self.names]

    def read(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        columns = self.columns
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        for column, read in self.readers:
            for row in found:
                row[column] = read(row[column])
        return found


def _compile(statement: Any, dialect: Dialect, *, custom_plan: bool) -> Compiled:
    compiled = statement.compile(dialect=dialect)
    if compiled.insert_prefetch or compiled.update_prefetch:
        raise TypeError("Give it the columns' defaults as values: they would be frozen into it.")
    names = tuple(compiled.positiontup)
    binds = {name: compiled.binds[name] for name in names}
    if any(bind.expanding or bind.literal_execute for bind in binds.values()):
        raise TypeError("Its text is fixed: IN takes a list of bindparams.")
    types = {column.key: column.type for column in statement.exported_columns}
    binders = {name: _binder(bind.type, dialect) for name, bind in binds.items()}
    readers = {name: _reader(type_, dialect) for name, type_ in types.items()}
    sql = str(compiled)
    return Compiled(
        sql=sql,
        writes=WRITE.match(sql) is not None,
        table=statement.table if isinstance(statement, (Insert, Update, Delete)) else None,
        custom_plan=custom_plan,
        names=names,
        constants={name: bind.value for name, bind in binds.items() if not bind.required},
        binders=tuple((name, bind) for name, bind in binders.items() if bind),
        columns=tuple(types),
        readers=tuple((name, read) for name, read in readers.items() if read),
    )


def _binder(type_: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    binder: Callable[[Any], Any] | None = type_.dialect_impl(dialect).bind_processor(dialect)
    return binder


def _reader(type_: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    # SQLAlchemy's numbers ask what the driver makes of them; PostgreSQL's, by their OID: asyncpg
    # makes a Decimal of NUMERIC (1700) and a float of DOUBLE PRECISION (701).
    oid = 701 if isinstance(type_, Float) else 1700 if isinstance(type_, Numeric) else None
    reader: Callable[[Any], Any] | None = type_.dialect_impl(dialect).result_processor(dialect, oid)
    return reader
