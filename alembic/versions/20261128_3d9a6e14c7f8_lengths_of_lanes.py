"""Index the lanes of jobs, so that their lengths are counted quickly."""

import sqlalchemy as sa
from alembic import op

revision = "3d9a6e14c7f8"
down_revision = "c2a85e90d7b4"
branch_labels = None
depends_on = None
accepted = {
    "require-concurrent-index-creation": "The queue is short: a job that succeeds is deleted."
}

HAS_LANE = sa.text("lane IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_jobs_lane", "jobs", ["lane"], postgresql_where=HAS_LANE, sqlite_where=HAS_LANE
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_lane", "jobs")
