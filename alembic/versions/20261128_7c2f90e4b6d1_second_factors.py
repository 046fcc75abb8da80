"""Create the second factors, their recovery codes and the sign-ins that wait for them."""

import sqlalchemy as sa
from alembic import op

revision = "7c2f90e4b6d1"
down_revision = "f5a90d7be246"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UtcDateTime = sa.DateTime(timezone=True)


def user_foreign_key(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_user_id_users"
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "second_factors",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("sealed_secret", sa.Text(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("enabled_at", UtcDateTime, nullable=False),
        user_foreign_key("second_factors"),
        sa.PrimaryKeyConstraint("user_id", name="pk_second_factors"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        user_foreign_key("recovery_codes"),
        sa.PrimaryKeyConstraint("code_hash", name="pk_recovery_codes"),
    )
    op.create_index("ix_recovery_codes_user_id", "recovery_codes", ["user_id"])
    op.create_table(
        "sign_in_challenges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        user_foreign_key("sign_in_challenges"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_challenges"),
        sa.UniqueConstraint("token_hash", name="uq_sign_in_challenges_token_hash"),
    )
    op.create_index("ix_sign_in_challenges_expires_at", "sign_in_challenges", ["expires_at"])
    op.create_index("ix_sign_in_challenges_user_id", "sign_in_challenges", ["user_id"])


def downgrade() -> None:
    for table in ("sign_in_challenges", "recovery_codes", "second_factors"):
        op.drop_table(table)
