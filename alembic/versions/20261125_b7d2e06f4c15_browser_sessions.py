"""Add the cookie hash of browser sessions."""

import sqlalchemy as sa
from alembic import op

revision = "b7d2e06f4c15"
down_revision = "c83d5be17f42"
branch_labels = None
depends_on = None

accepted = {
    "require-concurrent-index-creation": "Sessions are few, and expire."
}  # docs/migrations.md


def upgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.add_column(sa.Column("cookie_hash", sa.String(64), nullable=True))
        sessions.create_index("ix_auth_sessions_cookie_hash", ["cookie_hash"], unique=True)


def downgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.drop_index("ix_auth_sessions_cookie_hash")
        sessions.drop_column("cookie_hash")
