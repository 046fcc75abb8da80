"""Notify the processes, on PostgreSQL, of sessions that end and users that change."""

from alembic import op

revision = "c41f7a9e02b6"
down_revision = "5e0b7c92d1a8"
branch_labels = None
depends_on = None

# Deleting a user deletes the sessions too, and each of them fires its own trigger.
UPGRADE = (
    """
    CREATE FUNCTION notify_session_ended() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('auth_sessions', 'session:' || OLD.id); RETURN NULL; END $$
    """,
    """
    CREATE FUNCTION notify_user_changed() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('auth_sessions', 'user:' || OLD.id); RETURN NULL; END $$
    """,
    """
    CREATE FUNCTION notify_sessions_emptied() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('auth_sessions', 'all:'); RETURN NULL; END $$
    """,
    """
    CREATE TRIGGER notify_session_ended
    AFTER DELETE OR UPDATE OF id, user_id, scope, cookie_hash, expires_at ON auth_sessions
    FOR EACH ROW EXECUTE FUNCTION notify_session_ended()
    """,
    """
    CREATE TRIGGER notify_sessions_emptied AFTER TRUNCATE ON auth_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION notify_sessions_emptied()
    """,
    """
    CREATE TRIGGER notify_user_changed
    AFTER UPDATE OF id, is_active, is_superuser, password_hash ON users
    FOR EACH ROW WHEN (
        (OLD.id, OLD.is_active, OLD.is_superuser, OLD.password_hash)
        IS DISTINCT FROM (NEW.id, NEW.is_active, NEW.is_superuser, NEW.password_hash)
    )
    EXECUTE FUNCTION notify_user_changed()
    """,
    """
    CREATE TRIGGER notify_user_deleted AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION notify_user_changed()
    """,
)
DOWNGRADE = (
    "DROP TRIGGER notify_user_deleted ON users",
    "DROP TRIGGER notify_user_changed ON users",
    "DROP TRIGGER notify_sessions_emptied ON auth_sessions",
    "DROP TRIGGER notify_session_ended ON auth_sessions",
    "DROP FUNCTION notify_sessions_emptied()",
    "DROP FUNCTION notify_user_changed()",
    "DROP FUNCTION notify_session_ended()",
)


def upgrade() -> None:
    run(UPGRADE)


def downgrade() -> None:
    run(DOWNGRADE)


def run(statements: tuple[str, ...]) -> None:
    """SQLite has no such thing: there, each request asks the database."""
    if op.get_context().dialect.name == "postgresql":
        for statement in statements:
            op.execute(statement)
