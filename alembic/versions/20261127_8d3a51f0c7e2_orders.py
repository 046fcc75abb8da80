"""Create orders and their lines."""

import sqlalchemy as sa
from alembic import op

revision = "8d3a51f0c7e2"
down_revision = "c41f7a9e02b6"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Money = sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("note", sa.String(1000), nullable=True),
        sa.Column("placed_at", UtcDateTime, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_orders_owner_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("owner_id", "number", name="uq_orders_owner_id_number"),
        sa.CheckConstraint("status IN ('draft', 'placed', 'shipped')", name="ck_orders_status"),
        sa.CheckConstraint("number >= 1", name="ck_orders_number_from_one"),
        sa.CheckConstraint("length(note) <= 1000", name="ck_orders_note_length"),
        sa.CheckConstraint(
            "(placed_at IS NULL) = (status = 'draft')", name="ck_orders_placed_at_matches_status"
        ),
        sa.CheckConstraint("version >= 1", name="ck_orders_version_from_one"),
    )
    op.create_index("ix_orders_owner_id_id", "orders", ["owner_id", "id"])
    op.create_index("ix_orders_owner_id_created_at_id", "orders", ["owner_id", "created_at", "id"])
    op.create_table(
        "order_lines",
        sa.Column("id", Id, nullable=False),
        sa.Column("order_id", Id, nullable=False),
        sa.Column("item_id", Id, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", Money, nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_order_lines"),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name="fk_order_lines_order_id_orders", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_order_lines_item_id_items"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_order_lines_owner_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("order_id", "item_id", name="uq_order_lines_order_id_item_id"),
        sa.CheckConstraint("quantity BETWEEN 1 AND 1000", name="ck_order_lines_quantity_in_range"),
        sa.CheckConstraint("unit_price >= 0", name="ck_order_lines_unit_price_not_negative"),
    )
    op.create_index("ix_order_lines_item_id", "order_lines", ["item_id"])
    op.create_index("ix_order_lines_owner_id", "order_lines", ["owner_id"])


def downgrade() -> None:
    op.drop_table("order_lines")
    op.drop_table("orders")
