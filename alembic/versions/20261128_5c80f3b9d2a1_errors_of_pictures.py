"""Note why an uploaded image did not become the picture of an account."""

import sqlalchemy as sa
from alembic import op

revision = "5c80f3b9d2a1"
down_revision = "8b51f0d7a2e6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("picture_error", sa.String(20), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("users") as batch:
        batch.drop_column("picture_error")
