"""Create attachments of items."""

import sqlalchemy as sa
from alembic import op

revision = "4b8e61d0f2a9"
down_revision = "4be1c07a93d6"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("id", Id, nullable=False),
        sa.Column("item_id", Id, nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("thumbnail_size", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attachments"),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name="fk_attachments_item_id_items", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_attachments_owner_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("key", name="uq_attachments_key"),
        sa.CheckConstraint(
            "length(name) BETWEEN 1 AND 255", name=op.f("ck_attachments_name_length")
        ),
        sa.CheckConstraint("size >= 1", name=op.f("ck_attachments_size_from_one")),
    )
    op.create_index("ix_attachments_item_id_id", "attachments", ["item_id", "id"])
    op.create_index("ix_attachments_owner_id", "attachments", ["owner_id"])


def downgrade() -> None:
    op.drop_table("attachments")
