"""Add indexes for the lists and searches of items."""

import sqlalchemy as sa
from alembic import op

revision = "5e0b7c92d1a8"
down_revision = "b7d2e06f4c15"
branch_labels = None
depends_on = None

accepted = {
    "require-concurrent-index-creation": "The table is the example's."
}  # docs/migrations.md

SORTS = ("name", "price", "created_at", "updated_at")
SEARCHED = ("name", "description")


def upgrade() -> None:
    for name in SORTS:
        op.create_index(f"ix_items_owner_id_{name}_id", "items", ["owner_id", name, "id"])
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")  # trusted: an owner may
        for name in SEARCHED:
            op.create_index(
                f"ix_items_{name}_trgm",
                "items",
                [sa.text(f"lower({name}) gin_trgm_ops")],
                postgresql_using="gin",
            )


def downgrade() -> None:
    # The extension stays: it may have existed before, or other applications may use it.
    if op.get_context().dialect.name == "postgresql":
        for name in SEARCHED:
            op.drop_index(f"ix_items_{name}_trgm")
    for name in SORTS:
        op.drop_index(f"ix_items_owner_id_{name}_id")
