from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, EmailStr, Field, SecretStr

from app.core.schemas import Input, Output, Text

Password = Annotated[SecretStr, Field(min_length=10, max_length=128)]
FullName = Annotated[Text, Field(max_length=255)]


class UserCreate(Input):
    email: EmailStr = Field(examples=["ann@example.com"])
    password: Password = Field(examples=["correct horse battery"])
    full_name: FullName | None = Field(default=None, examples=["Ann Example"])


class UserRead(Output):
    id: int = Field(examples=[1])
    email: str = Field(examples=["ann@example.com"])
    full_name: str | None = Field(examples=["Ann Example"])
    is_active: bool
    is_superuser: bool = Field(examples=[False])
    created_at: datetime


class TokenRequest(BaseModel):
    """RFC 6749, section 4.3.2. Nothing is required here: its errors have their own shape."""

    model_config = ConfigDict(extra="ignore")

    grant_type: str = Field(default="", examples=["password"])
    username: str = Field(
        default="", description="The e-mail address.", examples=["ann@example.com"]
    )
    password: SecretStr = Field(default=SecretStr(""), examples=["correct horse battery"])
    scope: str | None = Field(
        default=None,
        description="Separated by spaces; without it, all that the user may have.",
        examples=["items:read items:write"],
    )


class TokenRead(Output):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - not a password
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str = Field(examples=["items:read items:write"])
