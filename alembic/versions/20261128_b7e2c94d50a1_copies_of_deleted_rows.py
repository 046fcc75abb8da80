"""Add the copies of deleted rows, by which a deletion can be undone."""

import sqlalchemy as sa
from alembic import op

revision = "b7e2c94d50a1"
down_revision = "5d9c31e7a0b4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "undo_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_undo_records_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_undo_records")),
    )
    op.create_index(op.f("ix_undo_records_expires_at"), "undo_records", ["expires_at"])
    op.create_index(op.f("ix_undo_records_user_id"), "undo_records", ["user_id"])


def downgrade() -> None:
    op.drop_table("undo_records")
