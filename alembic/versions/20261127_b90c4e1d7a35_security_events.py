"""Create the security events."""

import sqlalchemy as sa
from alembic import op

revision = "b90c4e1d7a35"
down_revision = "675d0bb96d16"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "security_events",
        sa.Column("id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("subject_id", Id, nullable=True),
        sa.Column("email_hash", sa.String(64), nullable=True),
        sa.Column("actor_id", Id, nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_security_events"),
    )
    op.create_index("ix_security_events_created_at", "security_events", ["created_at"])
    op.create_index("ix_security_events_subject_id_id", "security_events", ["subject_id", "id"])


def downgrade() -> None:
    op.drop_table("security_events")
