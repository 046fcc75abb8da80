"""Titles of security events, for their owners and for the admin."""

from app.accounts.schemas import SecurityEventRead
from app.accounts.scopes import declared
from app.core.translation import gettext, mark

TITLES = {
    "sign_in": mark("Signed in"),
    "password_check": mark("Confirmed the password"),
    "session_ended": mark("Signed out a device"),
    "password_changed": mark("Changed the password"),
    "password_reset": mark("Reset the password by email"),
    "email_change_requested": mark("Asked to change the email address"),
    "email_changed": mark("Changed the email address"),
    "email_confirmed": mark("Confirmed the email address"),
    "email_restored": mark("Restored the email address"),
    "api_key_created": mark("Created an API key"),
    "api_key_first_used": mark("Used an API key for the first time"),
    "api_key_revoked": mark("Revoked an API key"),
    "second_factor_enabled": mark("Set up a second factor"),
    "second_factor_disabled": mark("Switched off the second factor"),
    "second_factor_requested": mark("Entered the password, and was asked for a code"),
    "second_factor_check": mark("Confirmed with a code of the second factor"),
    "recovery_code_used": mark("Used a recovery code"),
    "recovery_codes_renewed": mark("Made new recovery codes"),
    "user_created": mark("Created the account"),
    "user_changed": mark("Changed the profile"),
    "user_activated": mark("Activated the account"),
    "user_deactivated": mark("Deactivated the account"),
    "role_changed": mark("Changed the role"),
    **declared("EVENT_TITLES"),
}
FAILURES = {
    "sign_in": mark("Failed to sign in"),
    "password_check": mark("Entered a wrong current password"),
    "second_factor_check": mark("Entered a wrong code of the second factor"),
    "refresh_token_reused": mark("Used a refresh token twice: its session was ended"),
    **declared("EVENT_FAILURES"),
}


def kind_title(kind: str, outcome: str) -> str:
    """Return the title of a kind of events, or the kind if a later version has recorded it."""
    titles = TITLES if outcome == "success" else FAILURES
    return gettext(titles.get(kind, kind))


def event_title(event: SecurityEventRead) -> str:
    title = kind_title(event.kind, event.outcome)
    if event.actor == "administrator":
        return gettext("{title} (an administrator)", title=title)
    return title
