"""Notify the processes, on PostgreSQL, of users whose address is confirmed or not any more."""

from alembic import op

revision = "d27f58a0c914"
down_revision = "b90c4e1d7a35"
branch_labels = None
depends_on = None

OLD_COLUMNS = ("id", "is_active", "is_superuser", "password_hash")
NEW_COLUMNS = (*OLD_COLUMNS, "email_verified_at")


def upgrade() -> None:
    watch(NEW_COLUMNS)


def downgrade() -> None:
    watch(OLD_COLUMNS)


def watch(columns: tuple[str, ...]) -> None:
    if op.get_context().dialect.name != "postgresql":
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
