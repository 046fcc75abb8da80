from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from app.project.migration import on_postgres
from app.project.postgres_objects import StatementList, objects_of

GADGETS = sa.Table("gadgets", sa.MetaData(), sa.Column("name"), sa.Index("ix_gadgets_name", "name"))
HISTORY = (
    "CREATE TABLE gadgets (name TEXT)",
    "CREATE INDEX ix_gadgets_name ON gadgets (name)",
    "CREATE INDEX CONCURRENTLY ix_gadgets_old ON gadgets (upper(name))",
    "CREATE INDEX ix_gadgets_trgm ON gadgets USING gin (name)",
    "CREATE FUNCTION notify() RETURNS trigger AS $$ SELECT 1 ON gadgets $$",
    "CREATE FUNCTION notify_gadget() RETURNS trigger AS $$ SELECT 1 $$",
    "CREATE FUNCTION unused() RETURNS trigger AS $$ SELECT 1 $$",
    "CREATE TRIGGER notify\nAFTER UPDATE OF name ON users EXECUTE FUNCTION notify()",
    "CREATE TRIGGER changed\nAFTER UPDATE OF name ON gadgets EXECUTE FUNCTION notify()",
    "CREATE TRIGGER created AFTER INSERT ON gadgets EXECUTE FUNCTION notify_gadget()",
    "DROP INDEX CONCURRENTLY IF EXISTS ix_gadgets_old",
)


def names(*statements: str) -> list[str]:
    return [each.name for each in objects_of(statements, [GADGETS])]


def test_objects_of_a_table_include_functions_that_only_its_triggers_execute() -> None:
    assert names(*HISTORY) == ["ix_gadgets_trgm", "notify_gadget", "changed", "created"]


def test_objects_of_a_dropped_table_are_forgotten() -> None:
    again = "CREATE TRIGGER changed BEFORE UPDATE ON gadgets EXECUTE FUNCTION notify_gadget()"
    assert names(*HISTORY, "DROP TABLE gadgets") == []
    assert names(*HISTORY, "DROP TABLE gadgets", again) == ["notify_gadget", "changed"]


@pytest.mark.parametrize(
    "statement", ["SELECT ' :name ', 1::text, 'a:b', '%', '\"'", f"SELECT 1,\n\n  '{'x' * 100}'"]
)
def test_generated_migration_runs_the_statement_as_it_is(statement: str) -> None:
    output = StatementList()
    options: dict[str, Any] = {"as_sql": True, "output_buffer": output}
    context = MigrationContext.configure(
        dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, opts=options
    )
    source = f"if True:{on_postgres([statement])}"
    exec(source, {"op": Operations(context)})
    assert output.statements == [statement]
