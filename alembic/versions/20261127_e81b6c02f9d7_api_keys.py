"""Create the API keys, and notify the processes, on PostgreSQL, of those that end."""

import sqlalchemy as sa
from alembic import op

revision = "e81b6c02f9d7"
down_revision = "d27f58a0c914"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)
# The functions are those of sessions. The triggers are dropped with their table.
TRIGGERS = (
    """
    CREATE TRIGGER notify_api_key_ended
    AFTER DELETE OR UPDATE OF id, user_id, scope, key_hash, expires_at ON api_keys
    FOR EACH ROW EXECUTE FUNCTION notify_session_ended()
    """,
    """
    CREATE TRIGGER notify_api_keys_emptied AFTER TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION notify_sessions_emptied()
    """,
)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_used_at", UtcDateTime, nullable=True),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_api_keys_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index("ix_api_keys_expires_at", "api_keys", ["expires_at"])
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    if op.get_context().dialect.name == "postgresql":
        for trigger in TRIGGERS:
            op.execute(trigger)


def downgrade() -> None:
    op.drop_table("api_keys")
