"""Add refresh tokens, client information of sessions, and tokens that are sent by mail."""

import sqlalchemy as sa
from alembic import op

revision = "a41f0d2c9b7e"
down_revision = "d04b8e7f31a6"
branch_labels = None
depends_on = None

accepted = {
    "adding-required-field": "The tables are emptied first: no session outlives this upgrade."
}  # docs/migrations.md

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("email_verified_at", UtcDateTime, nullable=True))

    # Earlier sessions have no refresh token and no scope, so all users have to sign in again.
    op.execute("DELETE FROM auth_sessions")
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.add_column(sa.Column("scope", sa.Text(), nullable=False))
        sessions.add_column(sa.Column("user_agent", sa.String(255), nullable=True))
        sessions.add_column(sa.Column("address", sa.String(45), nullable=True))
        sessions.add_column(sa.Column("last_used_at", UtcDateTime, nullable=False))
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name="pk_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["auth_sessions.id"],
            name="fk_refresh_tokens_session_id_auth_sessions",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    op.create_table(
        "email_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_email_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_email_tokens_token_hash"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_email_tokens_user_id_users", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_email_tokens_user_id", "email_tokens", ["user_id"])
    op.create_index("ix_email_tokens_expires_at", "email_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("email_tokens")
    op.drop_table("refresh_tokens")
    with op.batch_alter_table("auth_sessions") as sessions:
        sessions.drop_column("last_used_at")
        sessions.drop_column("address")
        sessions.drop_column("user_agent")
        sessions.drop_column("scope")
    with op.batch_alter_table("users") as users:
        users.drop_column("email_verified_at")
