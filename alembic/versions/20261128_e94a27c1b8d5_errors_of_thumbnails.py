"""Note why an image has no thumbnail."""

import sqlalchemy as sa
from alembic import op

revision = "e94a27c1b8d5"
down_revision = "5c80f3b9d2a1"
branch_labels = None
depends_on = None

attachments = sa.table(
    "attachments",
    sa.column("media_type", sa.String()),
    sa.column("thumbnail_size", sa.Integer()),
    sa.column("thumbnail_error", sa.String()),
)


def upgrade() -> None:
    op.add_column("attachments", sa.Column("thumbnail_error", sa.String(20), nullable=True))
    # The images that have failed before. A job that is still to come replaces it.
    failed = attachments.c.media_type.like("image/%"), attachments.c.thumbnail_size.is_(None)
    op.execute(attachments.update().where(*failed).values(thumbnail_error="broken"))


def downgrade() -> None:
    with op.batch_alter_table("attachments") as batch:
        batch.drop_column("thumbnail_error")
