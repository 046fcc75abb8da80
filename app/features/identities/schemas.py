from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.core.schemas import Output
from app.core.translation import mark
from app.features.identities.models import LinkedIdentity

# Titles of the security events, by the name of `app.accounts.service.event_titles`.
EVENT_TITLES = {
    "identity_linked": mark("Linked an account of another provider"),
    "identity_unlinked": mark("Unlinked an account of another provider"),
    "identity_check": mark("Confirmed with an account of another provider"),
}

# From the visit of the provider to the answer, and from there to the link.
FLOW_LIFETIME = timedelta(minutes=10)
Purpose = Literal["sign_in", "link", "confirm"]


class Claims(NamedTuple):
    """What a provider says of a user, after its answer has been verified."""

    issuer: str
    subject: str
    email: str | None
    is_verified: bool  # the address, by the provider
    name: str | None
    is_recent: bool  # the sign-in there, by the provider


class Flow(BaseModel):
    """A sign-in at a provider that is under way, which the browser's cookie holds encrypted."""

    model_config = ConfigDict(frozen=True)

    provider: str
    purpose: Purpose
    state: str
    nonce: str
    verifier: str
    next: str


class Callback(BaseModel):
    """The parameters with which a provider leads back (RFC 6749, section 4.1.2; RFC 9207)."""

    code: str = Field(default="", max_length=4000)
    state: str = Field(default="", max_length=200)
    iss: str | None = Field(default=None, max_length=255)
    error: str = Field(default="", max_length=200)


class PendingLink(BaseModel):
    """An identity that its owner has yet to link to an account, which a cookie holds encrypted."""

    provider: str
    issuer: str
    subject: str
    email: str | None


class IdentityRead(Output):
    id: UUID
    provider: str = Field(examples=["Google"])
    issuer: str = Field(examples=["https://accounts.google.com"])
    email: str | None = Field(
        description="The address at the provider, when it was linked.", examples=["ann@example.com"]
    )
    created_at: datetime
    last_used_at: datetime | None

    @classmethod
    def of(cls, identity: LinkedIdentity, provider: str | None) -> Self:
        """Describe an identity. A provider that is not configured any more is its issuer."""
        return cls(
            id=identity.id,
            provider=provider or identity.issuer,
            issuer=identity.issuer,
            email=identity.email,
            created_at=identity.created_at,
            last_used_at=identity.last_used_at,
        )
