"""The base of all models, and column types that work alike on PostgreSQL and SQLite."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Index, Integer, MetaData, Numeric, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from app.core.schemas import MAX_ID


class Base(DeclarativeBase):
    """The base of all models. Constraints get names by convention, so that migrations find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Id(TypeDecorator[int]):
    """A 64-bit integer from 1.

    Any other number is bound as 0, which no row has, so that a look-up finds nothing.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        # On SQLite, only an INTEGER primary key numbers itself. It has 64 bits there, too.
        return Integer() if dialect.name == "sqlite" else BigInteger()

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return value if value is None or 1 <= value <= MAX_ID else 0


class _SqliteUtc(TypeDecorator[datetime]):
    """A UTC timestamp on SQLite, which stores no offset: it is removed, and added again."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class _SqliteCents(TypeDecorator[Decimal]):
    """An amount in cents on SQLite, which has floats only.

    Integers are exact, also when the database compares and adds them.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)


# As variants, they leave PostgreSQL's values unprocessed.
UtcDateTime = DateTime(timezone=True).with_variant(_SqliteUtc(), "sqlite")
Money = Numeric(12, 2).with_variant(_SqliteCents(), "sqlite")


def utc_now() -> datetime:
    return datetime.now(UTC)


def _created_at(context: Any) -> datetime:
    created_at: datetime = context.get_current_parameters()["created_at"]
    return created_at


class Timestamps:
    """A mixin with the times of creation and last change. They are equal until a change."""

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_created_at, onupdate=utc_now)


class Versioned:
    """A mixin of models whose rows count their changes from 1."""

    version: Mapped[int] = mapped_column(BigInteger, default=1)


def sort_indexes(owner: str, *sorts: str) -> list[Index]:
    """Return an index for each sort of a list, which reads a page of an owner from it."""
    return [Index(None, owner, "id"), *(Index(None, owner, sort, "id") for sort in sorts)]


class lowered(FunctionElement[str]):
    """An SQL function for lower case by Unicode's simple mapping: one character for each."""

    type = String()
    inherit_cache = True


@compiles(lowered)
def _lower(element: lowered, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(lowered, "sqlite")
def _simple_lower(element: lowered, compiler: Any, **options: Any) -> str:
    return f"simple_lower({compiler.process(element.clauses, **options)})"


def simple_lower(text: str | None) -> str | None:
    """Return the text in lower case, by Unicode's simple mapping.

    Each SQLite connection registers this function, since SQLite's `lower` knows ASCII only.
    """
    if text is None or text.isascii():
        return text and text.lower()
    return "".join(character.lower()[0] for character in text)
