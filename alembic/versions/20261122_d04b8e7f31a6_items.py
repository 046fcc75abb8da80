"""Create items."""

import sqlalchemy as sa
from alembic import op

revision = "d04b8e7f31a6"
down_revision = "6c59cb8319cc"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Money = sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", Money, nullable=False),
        sa.Column("is_offer", sa.Boolean(), nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_items_owner_id_users", ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 255", name=op.f("ck_items_name_length")),
        sa.CheckConstraint(
            "length(description) <= 10000", name=op.f("ck_items_description_length")
        ),
        sa.CheckConstraint("price >= 0", name=op.f("ck_items_price_not_negative")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_items_version_from_one")),
    )
    op.create_index("ix_items_owner_id_id", "items", ["owner_id", "id"])


def downgrade() -> None:
    op.drop_table("items")
