"""Name the CHECK constraints of orders as the models do."""

from alembic import op

revision = "3f6d90b2a7c4"
down_revision = "a96ae6c8bb60"
branch_labels = None
depends_on = None

accepted = {"constraint-missing-not-valid": "The tables are the example's."}  # docs/migrations.md

# Without op.f() around the names, the migration that created them put the prefix twice.
CHECKS = {
    "orders": {
        "status": "status IN ('draft', 'placed', 'shipped')",
        "number_from_one": "number >= 1",
        "note_length": "length(note) <= 1000",
        "placed_at_matches_status": "(placed_at IS NULL) = (status = 'draft')",
        "version_from_one": "version >= 1",
    },
    "order_lines": {
        "quantity_in_range": "quantity BETWEEN 1 AND 1000",
        "unit_price_not_negative": "unit_price >= 0",
    },
}


def upgrade() -> None:
    for table in CHECKS:
        rename(table, f"ck_{table}_ck_{table}_", f"ck_{table}_")


def downgrade() -> None:
    for table in CHECKS:
        rename(table, f"ck_{table}_", f"ck_{table}_ck_{table}_")


def rename(table: str, old_prefix: str, new_prefix: str) -> None:
    with op.batch_alter_table(table) as batch:
        for name, condition in CHECKS[table].items():
            batch.drop_constraint(op.f(old_prefix + name), type_="check")
            batch.create_check_constraint(op.f(new_prefix + name), condition)
