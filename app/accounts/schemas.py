from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import (
    MISSING,
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from app.accounts.models import EventKind, Outcome, SecurityEvent
from app.core.database.pagination import PageQuery, name_sorts
from app.core.schemas import Input, Output, Text
from app.core.security.passwords import (
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
    is_common,
    is_encodable,
    normalize_password,
)
from app.core.storage.uploads import ImageStatus
from app.core.translation import mark

SCOPES = {
    "account": mark("Change and delete the account, its sessions, API keys and second factor.")
}
SUPERUSER_SCOPES = {"users:admin": mark("Manage the users.")}


def _check_encodable(password: SecretStr) -> SecretStr:
    if not is_encodable(password.get_secret_value()):
        raise PydanticCustomError("not_encodable", "Use characters that UTF-8 can encode")
    return password


def _check_strong(password: SecretStr) -> SecretStr:
    given = password.get_secret_value()
    if len(normalize_password(given)) < MIN_PASSWORD_CHARACTERS:
        raise PydanticKnownError("string_too_short", {"min_length": MIN_PASSWORD_CHARACTERS})
    if is_common(given):
        raise PydanticCustomError(
            "common_password", "This password is a common one, or a common word"
        )
    return password


Password = Annotated[
    SecretStr,
    Field(max_length=MAX_PASSWORD_CHARACTERS, examples=["correct horse battery"]),
    AfterValidator(_check_encodable),
    AfterValidator(_check_strong),
    # For the OpenAPI document. Its own error would count the characters of a secret as "items".
    Field(min_length=MIN_PASSWORD_CHARACTERS),
]
CurrentPassword = Annotated[
    SecretStr, Field(max_length=MAX_PASSWORD_CHARACTERS, examples=["correct horse battery"])
]
FullName = Annotated[str, Text(max_length=255), Field(examples=["Ann Example"])]
Email = Annotated[EmailStr, Field(examples=["ann@example.com"])]
MailToken = Annotated[
    SecretStr,
    Field(max_length=128, description="The token in the link of the email."),
    AfterValidator(_check_encodable),
]


Code = Annotated[
    SecretStr,
    Field(
        max_length=50,
        description="Six digits of the authenticator app, or a recovery code.",
        examples=["123456"],
    ),
    AfterValidator(_check_encodable),
]


class ClientInfo(NamedTuple):
    """The network address and program of a client, which are known before it signs in."""

    address: str
    network: str  # what attempts are counted by
    user_agent: str | None  # what a session keeps of it
    device: str | None  # the token of a browser in which somebody has signed in before


class UserCreate(Input):
    email: Email
    password: Password
    full_name: FullName | None = None


class UserUpdate(Input):
    """A new `email` needs `current_password`, and takes effect when it is confirmed by mail."""

    full_name: FullName | MISSING | None = MISSING
    email: Email | MISSING = MISSING
    current_password: CurrentPassword | MISSING = MISSING


class UserAdminUpdate(Input):
    full_name: FullName | MISSING | None = MISSING
    is_active: bool | MISSING = MISSING
    is_superuser: bool | MISSING = MISSING


class UserAdminCreate(UserCreate):
    is_superuser: bool = False


class UserAdminEdit(UserAdminUpdate):
    password: Password | MISSING = Field(
        default=MISSING,
        description=mark("Leave it empty to keep it. A new one signs out every device."),
    )
    remove_second_factor: bool = Field(
        default=False,
        description=mark(
            "For a user who has lost it, once you are sure who asks. It signs out every device."
        ),
    )


class UserRead(Output):
    id: int = Field(examples=[1])
    email: str = Field(examples=["ann@example.com"])
    is_verified: bool = Field(description="Whether the email address is confirmed.")
    full_name: str | None = Field(examples=["Ann Example"])
    is_active: bool
    is_superuser: bool = Field(examples=[False])
    picture_status: ImageStatus = Field(
        description="The state of the last uploaded picture. After `broken` or `too_many_pixels`, "
        "the account has the picture of before.",
        examples=["ready"],
    )
    created_at: datetime


class UserQuery(PageQuery):
    sort: Literal["id", "email", "created_at", "-id", "-email", "-created_at"] = Field(
        default="id", json_schema_extra=name_sorts
    )
    is_active: bool | None = None


class PasswordChange(Input):
    current_password: CurrentPassword
    new_password: Password


class AccountDeletion(Input):
    current_password: CurrentPassword


class PasswordConfirmation(Input):
    current_password: CurrentPassword


class SessionConfirmation(Input):
    """Either the password or a code. A code confirms what requires the second factor, too."""

    current_password: CurrentPassword = SecretStr("")
    code: Code | MISSING = MISSING

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("one_proof", "Send either the password or a code.")
        return self


class CodeConfirmation(Input):
    confirm_code: Code


class SecondFactorSetUp(Output):
    token: str = Field(description="Send it back with a code within 15 minutes.")
    secret: str = Field(description="To be typed into an app.", examples=["JBSWY3DPEHPK3PXP"])
    uri: str = Field(description="The secret for a QR code (`otpauth://totp/...`).")


class SecondFactorEnable(Input):
    token: Annotated[SecretStr, Field(max_length=500), AfterValidator(_check_encodable)]
    code: Code


class SecondFactorProof(Input):
    current_password: CurrentPassword
    code: Code


class SecondFactorRead(Output):
    is_enabled: bool
    enabled_at: datetime | None
    recovery_codes_left: int


class RecoveryCodes(Output):
    recovery_codes: list[str] = Field(
        description="Each replaces the app once. They are not shown again.",
        examples=[["ABCD-EFGH-IJKL-MNOP-QRST-UVWX"]],
    )


class SecondFactorSignIn(Input):
    challenge: Annotated[SecretStr, Field(max_length=128), AfterValidator(_check_encodable)]
    code: Code


class EmailInput(Input):
    email: Email


class PasswordReset(Input):
    token: MailToken
    password: Password


class EmailUndo(Input):
    token: MailToken


class EmailVerification(Input):
    token: MailToken
    current_password: CurrentPassword = Field(
        default=SecretStr(""), description="The password of the account."
    )


class Accepted(Output):
    """The same response whether or not there is an account."""

    detail: str = "If there is an account with this email address, an email is on its way."


class ApiKeyCreate(Input):
    name: Annotated[str, Text(min_length=1, max_length=100), Field(examples=["Nightly import"])]
    scopes: list[Annotated[str, Text(max_length=100)]] = Field(
        min_length=1, max_length=100, examples=[["items:read"]]
    )
    expires_in_days: int = Field(default=90, ge=1, le=365)
    current_password: CurrentPassword


class ApiKeyRead(Output):
    id: UUID
    name: str = Field(examples=["Nightly import"])
    prefix: str = Field(description="The first characters of the key.", examples=["app_Xk3f9a"])
    scopes: list[str] = Field(examples=[["items:read"]])
    created_at: datetime
    last_used_at: datetime | None = Field(description="Exact to the hour.")
    expires_at: datetime


class ApiKeyCreated(ApiKeyRead):
    key: str = Field(description="The key itself. It is not shown again.")


class ApiKeyAdminRead(Output):
    id: UUID
    user_id: int
    name: str
    prefix: str
    scope: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime


class SecurityEventQuery(PageQuery):
    sort: Literal["id", "-id"] = Field(default="-id", json_schema_extra=name_sorts)


class SecurityEventRead(Output):
    """An event of the account. It does not include the address of an administrator."""

    id: int
    created_at: datetime
    kind: str = Field(examples=["sign_in"])
    outcome: str = Field(examples=["success"])
    actor: Literal["owner", "administrator", "unknown"]
    session_id: UUID | None
    address: str | None
    user_agent: str | None

    @classmethod
    def for_owner(cls, event: SecurityEvent) -> Self:
        is_by_other = event.actor_id not in (None, event.subject_id)
        is_of_owner = not is_by_other or event.kind == EventKind.SESSION_ENDED
        by_owner: Literal["owner", "unknown"] = "owner" if event.actor_id else "unknown"
        return cls(
            id=event.id,
            created_at=event.created_at,
            kind=event.kind,
            outcome=event.outcome,
            actor="administrator" if is_by_other else by_owner,
            session_id=event.session_id if is_of_owner else None,
            address=None if is_by_other else event.address,
            user_agent=None if is_by_other else event.user_agent,
        )


class SecurityEventAdminRead(Output):
    id: int
    created_at: datetime
    kind: str
    outcome: Outcome
    subject_id: int | None
    email_hash: str | None
    actor_id: int | None
    session_id: UUID | None
    address: str | None
    user_agent: str | None


class SessionAdminRead(Output):
    id: UUID
    user_id: int
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class SignIn(Input):
    email: str
    password: SecretStr


class TokenRequest(BaseModel):
    """A token request (RFC 6749, sections 4.3.2 and 6). Missing fields have errors of its own."""

    model_config = ConfigDict(extra="ignore")

    grant_type: str = Field(
        default="", description="password or refresh_token", examples=["password"]
    )
    username: str = Field(
        default="", description="The email address.", examples=["ann@example.com"]
    )
    password: SecretStr = Field(default=SecretStr(""), examples=["correct horse battery"])
    refresh_token: SecretStr = SecretStr("")
    scope: str | None = Field(
        default=None,
        description="Separated by spaces. Without it, all scopes that the user can have.",
        examples=["items:read items:write"],
    )


class TokenRead(Output):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - not a password
    expires_in: int = Field(description="Lifetime in seconds.", examples=[900])
    refresh_token: str
    scope: str = Field(examples=["items:read items:write"])


class Revocation(BaseModel):
    """A revocation (RFC 7009)."""

    model_config = ConfigDict(extra="ignore")

    token: SecretStr = Field(default=SecretStr(""), description="A refresh or an access token.")


class SessionRead(Output):
    id: UUID
    created_at: datetime
    last_used_at: datetime = Field(
        description="Time of the last refresh; approximate in a browser."
    )
    user_agent: str | None
    address: str | None
    is_current: bool = False
