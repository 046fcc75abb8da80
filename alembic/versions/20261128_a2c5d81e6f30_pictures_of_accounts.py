"""Add pictures to accounts, and notify the processes of new ones."""

import sqlalchemy as sa
from alembic import op

revision = "a2c5d81e6f30"
down_revision = "6d2e90b7f4c3"
branch_labels = None
depends_on = None

OLD_COLUMNS = (
    "id", "is_active", "is_superuser", "password_hash", "email_verified_at", "email", "full_name"
)  # fmt: skip
NEW_COLUMNS = (*OLD_COLUMNS, "picture_key")


def upgrade() -> None:
    op.add_column("users", sa.Column("picture_key", sa.String(100), nullable=True))
    op.add_column("users", sa.Column("picture_size", sa.Integer(), nullable=True))
    op.add_column("users", sa.Column("picture_upload_key", sa.String(100), nullable=True))
    watch(NEW_COLUMNS)


def downgrade() -> None:
    watch(OLD_COLUMNS)
    with op.batch_alter_table("users") as batch:
        batch.drop_column("picture_upload_key")
        batch.drop_column("picture_size")
        batch.drop_column("picture_key")


def watch(columns: tuple[str, ...]) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("OLD", "NEW"))
    op.execute("DROP TRIGGER notify_user_changed ON users")
    op.execute(
        f"""
        CREATE TRIGGER notify_user_changed AFTER UPDATE OF {", ".join(columns)} ON users
        FOR EACH ROW WHEN (({old}) IS DISTINCT FROM ({new}))
        EXECUTE FUNCTION notify_user_changed()
        """
    )
