"""How a migration is written from the models, so that it runs on both databases.

Alembic writes types and defaults as the database at hand says them. The functions here write what
both databases take, and refuse the rest by name. `alembic/env.py` hands them to Alembic.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import conv
from sqlalchemy.sql.functions import now

from app.core.database.models import Id, Money, UtcDateTime

DIALECTS: Any = (postgresql.dialect(), sqlite.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's
CAST = re.compile(r"::(character varying|timestamp with(out)? time zone|\w+)(\([\d,]+\))?(\[\])?")
ANY = re.compile(r"= ANY \(ARRAY\[(.*?)\]\)")
NOW = {"now", "current_timestamp"}
BOOLEANS = {"0": sa.false(), "1": sa.true(), "false": sa.false(), "true": sa.true()}
# What reflection finds, in the types of the models. Integers are in `portable_type`.
PORTABLE = {
    postgresql.BYTEA: sa.LargeBinary(),
    postgresql.JSON: sa.JSON(),
    postgresql.TIMESTAMP: UtcDateTime,
    sa.BLOB: sa.LargeBinary(),
    sa.BOOLEAN: sa.Boolean(),
    sa.DATETIME: UtcDateTime,
    sa.CHAR: sa.Uuid(),  # only SQLite's UUIDs
    sa.NUMERIC: Money,
    sa.UUID: sa.Uuid(),
    sqlite.JSON: sa.JSON(),
}


class IrreversibleOp(ops.MigrateOperation):
    """A downgrade that would have to guess a column's type."""


@renderers.dispatch_for(IrreversibleOp)
def render_irreversible(*_: object) -> str:
    return (
        "# SQLite doesn't tell a price from a number: write the types of what is made again here.\n"
        'raise NotImplementedError("This migration cannot be undone.")'
    )


def render_item(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Return the source of a part of a migration, or False to leave it to Alembic."""
    if kind == "type":
        return render_type(item)
    if kind == "server_default" and isinstance(item, sa.DefaultClause):
        return render_default(item)
    return False


def render_type(type_: Any) -> str | Literal[False]:
    """Migrations say what they mean without importing the application."""
    if isinstance(type_, Id):
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    if type_ is UtcDateTime:
        return "sa.DateTime(timezone=True)"
    if type_ is Money:
        return 'sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite")'
    if isinstance(type_, sa.Enum):
        if type_.native_enum:
            raise CommandError(
                f"Enum {type_.name!r}: pass native_enum=False, create_constraint=True and a length,"
                " since SQLite has no enums."
            )
        return f"sa.String({type_.length})"  # its constraint is written by itself
    return False


def render_default(default: sa.DefaultClause) -> str:
    """Write a server default that means the same on both databases."""
    column: Any = default.column
    argument = default.arg
    if argument is sa.true() or argument is sa.false():
        return "sa.true()" if argument is sa.true() else "sa.false()"
    if isinstance(column.type, sa.Boolean):
        raise refusal(column, "a Boolean's is true() or false()")
    if isinstance(argument, now):
        return "sa.func.now()"
    texts = {argument if isinstance(argument, str) else sql(argument, each) for each in DIALECTS}
    if len(texts) > 1:
        raise refusal(column, f"pass text() with SQL that both take, not {' or '.join(texts)}")
    (text,) = texts
    if column.type is Money and Decimal(text.strip("'")) != 0:
        raise refusal(column, "a price's can be 0 only, since SQLite counts cents")
    return repr(text) if isinstance(argument, str) else f"sa.text({text!r})"


def refusal(column: Any, reason: str) -> CommandError:
    return CommandError(f"Server default of {column}: {reason}.")


def sql(expression: Any, dialect: Any = None) -> str:
    """Return an expression's SQL with its values in it."""
    options = {"literal_binds": True, "include_table": False}
    return str(expression.compile(dialect=dialect, compile_kwargs=options))


def compare_default(
    _: object,
    reflected: Any,
    column: Any,
    reflected_sql: str | None,
    default: Any,
    default_sql: str | None,
) -> bool | None:
    """Return whether a default has changed, or None to leave it to Alembic.

    Alembic doesn't see through quotes on SQLite, and PostgreSQL has no `=` for JSON.
    """
    if reflected_sql is None or default_sql is None:
        return None
    if unquoted(reflected_sql) == unquoted(default_sql):
        return False
    return True if isinstance(column.type, sa.JSON) else None


def unquoted(text: str) -> str:
    """Return the value of an SQL literal; any other text stays as it is."""
    text = CAST.sub("", text.removeprefix("(").removesuffix(")") if text[:2] == "('" else text)
    is_literal = len(text) > 1 and text[0] == text[-1] == "'"
    return text[1:-1].replace("''", "'") if is_literal else text


def make_portable(context: Any, _: object, scripts: Any) -> None:
    """Replace what was reflected from the database at hand in new migrations."""
    for script in scripts:
        drop_children_first(script)
        for each in walk(script.upgrade_ops):
            if isinstance(each, ops.AlterColumnOp):
                each.existing_type = portable_type(each.existing_type)
                make_default_portable(each.existing_server_default)
            if isinstance(each, ops.CreateTableOp):
                each.columns = [*each.columns, *checks_of_enums(each)]
        if context.dialect.name == "sqlite" and any(map(is_guess, walk(script.downgrade_ops))):
            script.downgrade_ops.ops = [IrreversibleOp()]
        for each in walk(script.downgrade_ops):
            if isinstance(each, ops.AlterColumnOp):
                each.modify_type = portable_type(each.modify_type)
                make_default_portable(each.modify_server_default)
            for column in columns_of(each):
                column.type = portable_type(column.type, is_key(column))
                make_default_portable(column.server_default)
            if isinstance(each, ops.CreateCheckConstraintOp):
                each.condition = portable_check(each.condition)
            for check in checks_of(each):
                check.sqltext = portable_check(check.sqltext)


def drop_children_first(script: Any) -> None:
    """Drop the tables after all else, and each one after those that refer to it.

    Alembic drops them in any order. PostgreSQL refuses to drop a table that another one refers to.
    """
    drops = only(script.upgrade_ops, ops.DropTableOp)
    order = TopologicalSorter[str](dict.fromkeys(sorted(drops), ()))
    for name, drop in drops.items():
        for key in drop.to_table().foreign_keys:
            parent = key.target_fullname.rpartition(".")[0]
            if parent in drops and parent != name:
                order.add(parent, name)
    try:
        names = [*order.static_order()]
    except CycleError as error:
        names = sorted({*error.args[1]})
        raise CommandError(
            f"The tables {', '.join(names)} refer to each other: drop a foreign key first."
        ) from None
    others = [each for each in script.upgrade_ops.ops if each not in drops.values()]
    script.upgrade_ops.ops = [*others, *(drops[name] for name in names)]
    creations = only(script.downgrade_ops, ops.CreateTableOp)
    others = [each for each in script.downgrade_ops.ops if each not in creations.values()]
    script.downgrade_ops.ops = [*(creations[name] for name in reversed(names)), *others]


def only(container: Any, kind: type[Any]) -> dict[str, Any]:
    """Return the operations of a kind, by the name of the table."""
    return {each.table_name: each for each in container.ops if isinstance(each, kind)}


def walk(operation: Any) -> Iterator[Any]:
    """Return the operation and all that are in it."""
    yield operation
    for each in getattr(operation, "ops", ()):
        yield from walk(each)


def columns_of(operation: Any) -> list[Any]:
    """Return the columns that an operation makes."""
    if isinstance(operation, ops.AddColumnOp):
        return [operation.column]
    if isinstance(operation, ops.CreateTableOp):
        return [each for each in operation.columns if isinstance(each, sa.Column)]
    return []


def checks_of(operation: Any) -> list[sa.CheckConstraint]:
    """Return the CHECK constraints of a table that an operation makes."""
    parts = operation.columns if isinstance(operation, ops.CreateTableOp) else []
    return [each for each in parts if isinstance(each, sa.CheckConstraint)]


def checks_of_enums(table: ops.CreateTableOp) -> list[sa.CheckConstraint]:
    """Return the CHECK constraints of the Enum columns, which are written as Strings."""
    types = [each.type for each in columns_of(table)]
    names = {f"ck_{table.table_name}_{each.name}" for each in types if isinstance(each, sa.Enum)}
    checks = [each for each in checks_of(table) if each.name in names]
    return [sa.CheckConstraint(sql(each.sqltext), name=conv(str(each.name))) for each in checks]


def is_key(column: Any) -> bool:
    return column.primary_key or bool(column.foreign_keys)


def is_guess(operation: Any) -> bool:
    """Return whether the operation makes a column that is a price or a number on SQLite."""
    return any(isinstance(each.type, sa.BIGINT) for each in columns_of(operation)) or (
        isinstance(operation, ops.AlterColumnOp) and isinstance(operation.modify_type, sa.BIGINT)
    )


def portable_type(type_: Any, is_key: bool = False) -> Any:
    if is_key and isinstance(type_, sa.Integer):
        return Id()
    if isinstance(type_, sa.NUMERIC) and (type_.precision, type_.scale) != (12, 2):
        return type_
    return PORTABLE.get(type(type_), type_)


def make_default_portable(default: Any) -> None:
    """Replace the words and casts of one database in a reflected default."""
    if not isinstance(default, sa.DefaultClause) or not isinstance(default.arg, sa.TextClause):
        return
    column: Any = default.column
    text = CAST.sub("", default.arg.text)
    word = text.strip("()").lower()
    if isinstance(column.type, sa.Boolean) and word in BOOLEANS:
        default.arg = BOOLEANS[word]
    elif word in NOW:
        default.arg = sa.func.now()
    else:
        default.arg = sa.text(text)


def portable_check(condition: Any) -> Any:
    """Return the text of a reflected CHECK constraint without PostgreSQL's casts and arrays."""
    text = condition if isinstance(condition, str) else sql(condition)
    return sa.text(ANY.sub(r"IN (\1)", CAST.sub("", text)))
