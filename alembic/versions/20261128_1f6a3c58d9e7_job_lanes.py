"""Add lanes to jobs."""

import sqlalchemy as sa
from alembic import op

revision = "1f6a3c58d9e7"
down_revision = "4b8e61d0f2a9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lane", sa.String(100), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("lane")
