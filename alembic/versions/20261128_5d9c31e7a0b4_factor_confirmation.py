"""Add the time at which a session's user last used a second factor."""

import sqlalchemy as sa
from alembic import op

revision = "5d9c31e7a0b4"
down_revision = "e94a27c1b8d5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        column = sa.Column("factor_confirmed_at", sa.DateTime(timezone=True), nullable=True)
        sessions.add_column(column)


def downgrade() -> None:
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.drop_column("factor_confirmed_at")
