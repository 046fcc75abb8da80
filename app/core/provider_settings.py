"""The setting OIDC_PROVIDERS: the OpenID providers that users can sign in with."""

import json
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic_settings import NoDecode

DISCOVERY_PATH = "/.well-known/openid-configuration"
FORM = (
    'should be a JSON list such as [{"name": "google", "issuer": "https://accounts.google.com", '
    '"client_id": "ID", "client_secret": "SECRET"}]'
)


def _parse_issuer(value: str) -> str:
    """Return the issuer, which may be given by the address of its discovery document."""
    issuer = value.removesuffix(DISCOVERY_PATH)
    parts = urlsplit(issuer)
    is_address = parts.scheme in ("http", "https") and parts.hostname
    if not is_address or parts.query or parts.fragment or parts.username:
        raise ValueError("should be https:// and a host, as the provider writes its issuer")
    return issuer


class OidcProvider(BaseModel):
    """An OpenID provider, with the credentials that this site has there.

    `name` is a part of the addresses that the provider leads back to. With `second_factor`, the
    provider's sign-in counts as both factors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    label: str = Field(default="", max_length=40)
    issuer: Annotated[str, Field(max_length=255), AfterValidator(_parse_issuer)]
    client_id: str = Field(min_length=1, max_length=500)
    client_secret: SecretStr = Field(min_length=1)
    second_factor: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        """Return what the pages call the provider."""
        return self.label or self.name.title()

    @property
    def discovery_url(self) -> str:
        return self.issuer.rstrip("/") + DISCOVERY_PATH

    @property
    def is_https(self) -> bool:
        return self.issuer.startswith("https://")


def _parse_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:  # It cites the value, which has secrets.
        raise ValueError(FORM) from None


def _check_names(providers: list[OidcProvider]) -> list[OidcProvider]:
    for attribute in ("name", "issuer"):
        values = [getattr(provider, attribute) for provider in providers]
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"two providers have the {attribute} {value!r}")
    return providers


OidcProviders = Annotated[
    list[OidcProvider], NoDecode, BeforeValidator(_parse_list), AfterValidator(_check_names)
]
