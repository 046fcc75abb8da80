"""Note the events that webhooks have missed."""

import sqlalchemy as sa
from alembic import op

revision = "8b51f0d7a2e6"
down_revision = "3d9a6e14c7f8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "webhooks", sa.Column("dropped_events", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "webhooks", sa.Column("last_dropped_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    with op.batch_alter_table("webhooks") as batch:
        batch.drop_column("last_dropped_at")
        batch.drop_column("dropped_events")
