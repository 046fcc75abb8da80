"""Add the time at which a session's user last entered the password."""

import sqlalchemy as sa
from alembic import op

revision = "f5a90d7be246"
down_revision = "e81b6c02f9d7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.add_column(sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.drop_column("confirmed_at")
