"""Add the outcome of the last run to job schedules."""

import sqlalchemy as sa
from alembic import op

revision = "c7f3e0a94b12"
down_revision = "a2c5d81e6f30"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job_schedules", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("job_schedules", sa.Column("duration_ms", sa.BigInteger(), nullable=True))
    op.add_column("job_schedules", sa.Column("error", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("job_schedules") as batch:
        batch.drop_column("error")
        batch.drop_column("duration_ms")
        batch.drop_column("finished_at")
