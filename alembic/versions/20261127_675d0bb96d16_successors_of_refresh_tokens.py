"""Add the parent of a refresh token."""

import sqlalchemy as sa
from alembic import op

revision = "675d0bb96d16"
down_revision = "3f6d90b2a7c4"
branch_labels = None
depends_on = None

accepted = {
    "require-concurrent-index-creation": "Refresh tokens are few, and expire."
}  # docs/migrations.md


def upgrade() -> None:
    with op.batch_alter_table("refresh_tokens") as tokens:
        tokens.add_column(sa.Column("parent_hash", sa.String(64), nullable=True))
        tokens.create_index("ix_refresh_tokens_parent_hash", ["parent_hash"])


def downgrade() -> None:
    with op.batch_alter_table("refresh_tokens") as tokens:
        tokens.drop_index("ix_refresh_tokens_parent_hash")
        tokens.drop_column("parent_hash")
