from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from app.accounts.schemas import CurrentPassword
from app.core.schemas import Input, JsonObject, Output, Text
from app.core.translation import mark
from app.features.passkeys.models import MAX_NAME

# Titles of the security events for their owners.
EVENT_TITLES = {
    "passkey_added": mark("Added a passkey"),
    "passkey_removed": mark("Removed a passkey"),
    "passkey_check": mark("Confirmed with a passkey"),
}
EVENT_FAILURES = {
    "passkey_check": mark("A passkey was refused"),
    "passkey_cloned": mark("A copy of a passkey may have been used, and was refused"),
}

CHALLENGE_LIFETIME = timedelta(minutes=5)
Purpose = Literal["register", "sign_in", "second_factor", "confirm"]
PasskeyName = Annotated[str, Text(min_length=1, max_length=MAX_NAME), Field(examples=["Phone"])]
ChallengeToken = Annotated[
    SecretStr, Field(max_length=1000, description="The `token` that came with the options.")
]
Credential = Annotated[
    JsonObject,
    Field(description="What the browser's `navigator.credentials` has returned, as JSON."),
]
SignInChallenge = Annotated[
    SecretStr,
    Field(
        max_length=128,
        description="The `challenge` of `second_factor_required`, to use the passkey as the second"
        " factor. Without it, the passkey signs in alone.",
    ),
]


class Challenge(BaseModel):
    """A challenge that waits for its answer. It is of one purpose, and of one session or sign-in.

    `bound_to` is the hash of that, or empty for a sign-in that begins.
    """

    purpose: Purpose
    challenge: str
    bound_to: str
    user_handle: str = ""  # of a registration


class PasskeyOptions(Output):
    token: str = Field(description="Send it back with the answer, within 5 minutes.")
    options: dict[str, Any] = Field(
        description="For `PublicKeyCredential.parseCreationOptionsFromJSON` or"
        " `parseRequestOptionsFromJSON`."
    )


class PasskeyOptionsRequest(Input):
    current_password: CurrentPassword


class PasskeyCreate(Input):
    token: ChallengeToken
    credential: Credential
    name: PasskeyName


class PasskeyUpdate(Input):
    name: PasskeyName


class PasskeyRemoval(Input):
    current_password: CurrentPassword


class PasskeyAnswer(Input):
    """The answer of a passkey."""

    token: ChallengeToken
    credential: Credential


class PasskeySignInOptions(Input):
    challenge: SignInChallenge = SecretStr("")


class PasskeySignIn(PasskeyAnswer):
    challenge: SignInChallenge = SecretStr("")


class PasskeyRead(Output):
    id: UUID
    name: str = Field(examples=["Phone"])
    is_backed_up: bool = Field(description="Whether the devices of the user share it.")
    created_at: datetime
    last_used_at: datetime | None


class PasskeyCreated(PasskeyRead):
    recovery_codes: list[str] | None = Field(
        description="With the first factor of the account. They are not shown again."
    )
