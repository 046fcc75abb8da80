"""A plugin for Alembic that finds CHECK constraints whose text has changed under the same name.

Alembic's own plugin finds the ones that are added and removed.
"""

from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import PriorityDispatchResult
from sqlalchemy.exc import DBAPIError

PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname", "app.checks"]


def compare_checks(
    context: Any, changes: Any, _: object, table_name: str, reflected: Any, table: Any
) -> PriorityDispatchResult:
    if reflected is None or table is None:  # the whole table is new, or goes
        return PriorityDispatchResult.CONTINUE
    found = sa.inspect(context.connection).get_check_constraints(table_name)
    texts = {each["name"]: each["sqltext"] for each in found}
    for constraint in sorted(checks_of(table), key=lambda each: str(each.name)):
        old = texts.get(str(constraint.name))
        if old is not None and stored_text(context.connection, constraint) != one_line(old):
            before = sa.CheckConstraint(old, name=constraint.name, table=reflected)
            changes.ops.append(ops.DropConstraintOp.from_constraint(before))
            changes.ops.append(ops.AddConstraintOp.from_constraint(constraint))
    return PriorityDispatchResult.CONTINUE


def checks_of(table: sa.Table) -> set[sa.CheckConstraint]:
    return {each for each in table.constraints if isinstance(each, sa.CheckConstraint)}


def stored_text(connection: sa.Connection, constraint: sa.CheckConstraint) -> str | None:
    """Return the text as the database would store it, or None if it refuses the constraint."""
    options = {"literal_binds": True, "include_table": False}
    text = str(constraint.sqltext.compile(dialect=connection.dialect, compile_kwargs=options))
    if connection.dialect.name == "sqlite":  # which stores what it was given
        return one_line(text)
    # PostgreSQL stores an expression and not its text, so it is asked what it makes of the text.
    quoted = connection.dialect.identifier_preparer.format_table(constraint.table)
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE app_check (LIKE {quoted})")
        connection.exec_driver_sql(f"ALTER TABLE app_check ADD CHECK ({text})")
        (stored,) = sa.inspect(connection).get_check_constraints("app_check")
        return one_line(stored["sqltext"])
    except DBAPIError:  # it is about a column that is new
        return None
    finally:
        savepoint.rollback()


def one_line(text: str) -> str:
    return " ".join(text.split())


Plugin("app.checks").add_autogenerate_comparator(compare_checks, "table", "changed_checks")
