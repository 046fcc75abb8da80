"""Titles of security events for their owners."""

from app.accounts.schemas import SecurityEventRead

TITLES = {
    "sign_in": "Signed in",
    "password_check": "Confirmed the password",
    "session_ended": "Signed out a device",
    "password_changed": "Changed the password",
    "password_reset": "Reset the password by email",
    "email_change_requested": "Asked to change the email address",
    "email_changed": "Changed the email address",
    "email_confirmed": "Confirmed the email address",
    "email_restored": "Restored the email address",
    "api_key_created": "Created an API key",
    "api_key_first_used": "Used an API key for the first time",
    "api_key_revoked": "Revoked an API key",
    "second_factor_enabled": "Set up a second factor",
    "second_factor_disabled": "Switched off the second factor",
    "second_factor_check": "Confirmed with a code of the second factor",
    "recovery_code_used": "Used a recovery code",
    "recovery_codes_renewed": "Made new recovery codes",
    "user_created": "Created the account",
    "user_changed": "Changed the profile",
    "user_activated": "Activated the account",
    "user_deactivated": "Deactivated the account",
    "role_changed": "Changed the role",
}
FAILURES = {
    "sign_in": "Failed to sign in",
    "password_check": "Entered a wrong current password",
    "second_factor_check": "Entered a wrong code of the second factor",
    "refresh_token_reused": "Used a refresh token twice: its session was ended",
}


def event_title(event: SecurityEventRead) -> str:
    """Return the title of an event, or its kind if a later version has recorded it."""
    titles = TITLES if event.outcome == "success" else FAILURES
    title = titles.get(event.kind, event.kind)
    return f"{title} (an administrator)" if event.actor == "administrator" else title
