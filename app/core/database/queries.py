"""Prepared queries: statements that are built and compiled once, and run many times.

Building and compiling a statement takes longer than PostgreSQL takes to run it.

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
Processor = Callable[[Any], Any]
Processors = tuple[tuple[str, Processor], ...]


# Matches statements that write, as far as their text shows. A function may write as well.
WRITE = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:"
    r"(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP|COPY|CALL|DO|REFRESH)\b"
    r"|WITH\b.*\b(?:INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO"
    r"|UPDATE\s+(?:ONLY\s+)?\S+(?:\s+(?:AS\s+)?\S+)?\s+SET)\b)",
    re.IGNORECASE | re.DOTALL,
)


class Query(Generic[RowT]):
    """A SELECT, or an INSERT, UPDATE or DELETE with RETURNING, and the schema of its rows.

    Values that vary are given as `bindparam`. PostgreSQL may plan the statement once for all
    values; with `custom_plan` it plans it for each value.
    """

    def __init__(
        self,
        statement: Select[Any] | Insert | Update | Delete,
        row: type[RowT],
        *,
        custom_plan: bool = False,
    ) -> None:
        unknown = {column.key for column in statement.exported_columns} - {*row.model_fields}
        if unknown:  # For example a relationship, which would be a join without a condition.
            raise TypeError(f"{row.__name__} has no fields for the columns {unknown}.")
        self._statement = statement
        self._rows = TypeAdapter(list[row])  # type: ignore[valid-type]  # It is known at run time.
        self._compiled = dict[str, Compiled]()
        self.custom_plan = custom_plan

    def compiled(self, dialect: Dialect) -> "Compiled":
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = _compile(
                self._statement, dialect, custom_plan=self.custom_plan
            )
        return self._compiled[dialect.name]

    def validate(self, rows: Sequence[Params]) -> list[RowT]:
        validated: list[RowT] = self._rows.validate_python(rows)
        return validated


def columns_of(model: type[Base], row: type[BaseModel]) -> list[Any]:
    """Return the columns of the model for the fields of a schema, so that no others are read."""
    columns = [getattr(model, name) for name in row.model_fields]
    for column in columns:
        if isinstance(column.property, RelationshipProperty):
            raise TypeError(
                f"{column} is a relationship: load it with select() and selectinload()."
            )
    return columns


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement in the form that the driver takes, and the processors of its values."""

    sql: str
    writes: bool
    table: Any  # The table that an INSERT, UPDATE or DELETE changes, or None.
    custom_plan: bool
    names: tuple[str, ...]
    constants: Params
    bind_processors: Processors
    columns: tuple[str, ...]
    result_processors: Processors

    def arguments(self, params: Params) -> list[Any]:
        """Return the values for the driver, in the order of the statement's parameters."""
        values = {**self.constants, **params}
        for name, process in self.bind_processors:
            values[name] = process(values[name])
        return [values[name] for name in self.names]

    def read(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the driver's rows as dicts of Python values."""
        columns = self.columns
        values = [dict(zip(columns, row)) for row in rows]  # noqa: B905 - it takes longer
        for column, process in self.result_processors:
            for row in values:
                row[column] = process(row[column])
        return values


def _compile(statement: Any, dialect: Dialect, *, custom_plan: bool) -> Compiled:
    compiled = statement.compile(dialect=dialect)
    if compiled.insert_prefetch or compiled.update_prefetch:
        raise TypeError("Give it the columns' defaults as values: they would be frozen into it.")
    names = tuple(compiled.positiontup)
    binds = {name: compiled.binds[name] for name in names}
    if any(bind.expanding or bind.literal_execute for bind in binds.values()):
        raise TypeError("Its text is fixed: IN takes a list of bindparams.")
    types = {column.key: column.type for column in statement.exported_columns}
    bind_processors = {name: _bind_processor(bind.type, dialect) for name, bind in binds.items()}
    result_processors = {name: _result_processor(type_, dialect) for name, type_ in types.items()}
    sql = str(compiled)
    return Compiled(
        sql=sql,
        writes=WRITE.match(sql) is not None,
        table=statement.table if isinstance(statement, (Insert, Update, Delete)) else None,
        custom_plan=custom_plan,
        names=names,
        constants={name: bind.value for name, bind in binds.items() if not bind.required},
        bind_processors=_without_none(bind_processors),
        columns=tuple(types),
        result_processors=_without_none(result_processors),
    )


def _bind_processor(type_: Any, dialect: Dialect) -> Processor | None:
    processor: Processor | None = type_.dialect_impl(dialect).bind_processor(dialect)
    return processor


def _result_processor(type_: Any, dialect: Dialect) -> Processor | None:
    # SQLAlchemy's numeric types need the OID of the driver's value: asyncpg returns a Decimal for
    # NUMERIC (1700), and a float for DOUBLE PRECISION (701).
    oid = 701 if isinstance(type_, Float) else 1700 if isinstance(type_, Numeric) else None
    processor: Processor | None = type_.dialect_impl(dialect).result_processor(dialect, oid)
    return processor


def _without_none(processors: Mapping[str, Processor | None]) -> Processors:
    return tuple((name, process) for name, process in processors.items() if process)
