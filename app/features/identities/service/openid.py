"""The client of an OpenID provider: the authorization code flow with PKCE.

OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636 (PKCE) and RFC 9207 (the issuer in the answer).
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, Field, ValidationError, WrapValidator

from app.accounts.schemas import Email, FullName
from app.core.errors import InvalidTokenRequest, Unavailable
from app.core.provider_settings import OidcProvider
from app.core.translation import mark
from app.features.identities.models import MAX_SUBJECT
from app.features.identities.schemas import Callback, Claims, Flow

SCOPE = "openid email profile"
# Asymmetric ones only: with HS256, the provider's public key could be taken for a secret.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
KEY_TYPES = ("RSA", "EC", "OKP")
REQUEST_SECONDS = 10  # for all requests of one step
MAX_RESPONSE_BYTES = 262_144
MAX_KEYS = 50
CACHE_SECONDS = 3600
KEYS_REFRESH_SECONDS = 60  # so that unknown key ids cause few requests
CLOCK_LEEWAY_SECONDS = 60
FRESH_SECONDS = 600  # of a sign-in there that confirms a session here
REQUESTS_AT_ONCE = 10
# What a provider that is away, or answers with something else, makes the requests raise. A deeply
# nested document raises RecursionError.
FAILURES = (
    TimeoutError,
    OSError,
    ValueError,
    RecursionError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
)
logger = logging.getLogger("app.identities")


class Metadata(BaseModel):
    """The parts of a provider's discovery document that are used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False

    @property
    def endpoints(self) -> list[str]:
        found = (
            self.authorization_endpoint,
            self.token_endpoint,
            self.jwks_uri,
            self.userinfo_endpoint,
        )
        return [each for each in found if each]


def none_if_invalid(value: Any, validate: Callable[[Any], Any]) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


OrNone = WrapValidator(none_if_invalid)


class JsonWebKeys(BaseModel):
    keys: list[dict[str, Any]]


class UserInfo(BaseModel):
    """The claims of a user that are used, of an ID token or of the userinfo endpoint."""

    sub: str = Field(max_length=MAX_SUBJECT, pattern=r"^[\x20-\x7e]+$")
    # Without an address or a name that can be stored, the user can still be recognized.
    email: Annotated[Email | None, OrNone] = None
    email_verified: Any = None
    name: Annotated[FullName | None, OrNone] = None
    auth_time: Annotated[float | None, OrNone] = None

    @property
    def is_recent(self) -> bool:
        return self.auth_time is not None and time.time() - self.auth_time <= FRESH_SECONDS

    @property
    def has_verified_email(self) -> bool:
        return str(self.email_verified).lower() == "true"  # Some providers write it as a text.


class BoundedStream(httpx2.AsyncByteStream):
    """A response's body, of which no more is read than a provider has reason to send."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_RESPONSE_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError("the response is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class Cached:
    """A value that is read again when it is older than a time. Callers at once read it once."""

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self._lock = asyncio.Lock()
        self._value: Any = None
        self._read_at = float("-inf")

    async def get(self, max_age: float = CACHE_SECONDS) -> Any:
        async with self._lock:
            if time.monotonic() - self._read_at > max_age:
                self._value = await self._read()
                self._read_at = time.monotonic()
            return self._value


class ProviderClient:
    """Leads a browser to a provider, and verifies the answer that it brings back."""

    def __init__(self, provider: OidcProvider, redirect_uri: str, tls: ssl.SSLContext) -> None:
        self.provider = provider
        self._redirect_uri = redirect_uri
        self._metadata = Cached(self._read_metadata)
        self._keys = Cached(self._read_keys)
        self._tls = tls
        self._at_once = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def authorization_url(self, flow: Flow) -> str:
        """Return the address at the provider that a sign-in begins with. Raise Unavailable."""
        async with self._requests() as client:
            metadata = await self._metadata.get()
            client.redirect_uri = self._redirect_uri
            # A recent sign-in there, and not one of last week.
            fresh = {"prompt": "login", "max_age": 0} if flow.purpose == "confirm" else {}
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=flow.state,
                nonce=flow.nonce,
                code_verifier=flow.verifier,
                **fresh,
            )
            return str(url)

    async def claims(self, callback: Callback, flow: Flow) -> Claims:
        """Return what the provider says of the user.

        Raise InvalidTokenRequest if its answer does not hold, and Unavailable.
        """
        async with self._requests() as client:
            metadata = await self._metadata.get()
            self._check_issuer(callback, metadata)
            token = await self._fetch_token(client, metadata, callback.code, flow)
            info = verified = await self._verify(token, flow, metadata)
            if info.email is None and metadata.userinfo_endpoint:
                info = await self._fetch_user_info(client, metadata.userinfo_endpoint, info)
        return Claims(
            metadata.issuer,
            info.sub,
            info.email,
            info.email is not None and info.has_verified_email,
            info.name,
            verified.is_recent,
        )

    def _check_issuer(self, callback: Callback, metadata: Metadata) -> None:
        """Check the issuer in the answer, so that no provider's answer passes for another's."""
        is_missing = callback.iss is None
        is_allowed = not metadata.authorization_response_iss_parameter_supported
        if not (is_missing and is_allowed) and callback.iss != metadata.issuer:
            raise self._refused("the issuer in the answer is another one")

    async def _fetch_token(
        self, client: AsyncOAuth2Client, metadata: Metadata, code: str, flow: Flow
    ) -> dict[str, Any]:
        if "client_secret_basic" not in metadata.token_endpoint_auth_methods_supported:
            client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - a name
        token: dict[str, Any] = await client.fetch_token(
            metadata.token_endpoint,
            grant_type="authorization_code",
            code=code,
            redirect_uri=self._redirect_uri,
            code_verifier=flow.verifier,
        )
        return token

    async def _verify(self, token: dict[str, Any], flow: Flow, metadata: Metadata) -> UserInfo:
        """Return the claims of the ID token (OpenID Connect Core, section 3.1.3.7)."""
        if not isinstance(given := token.get("id_token"), str):
            raise self._refused("there is no ID token")
        decoded = await self._decode(given)
        is_fresh = flow.purpose == "confirm"
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": metadata.issuer},
                "aud": {"essential": True, "value": self.provider.client_id},
                **({"auth_time": {"essential": True}} if is_fresh else {}),
            },
            {
                "nonce": flow.nonce,
                "client_id": self.provider.client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(leeway=CLOCK_LEEWAY_SECONDS)
        try:
            info = UserInfo.model_validate(claims)
        except ValidationError as error:
            raise self._refused("a claim has another form than OpenID Connect gives it") from error
        if is_fresh and not info.is_recent:
            raise self._refused("the sign-in at the provider is too old")
        return info

    async def _decode(self, token: str) -> jwt.Token:
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            return jwt.decode(token, await self._keys.get(), registry=registry)
        except InvalidKeyIdError:  # The provider may have new keys.
            return jwt.decode(token, await self._keys.get(KEYS_REFRESH_SECONDS), registry=registry)

    async def _fetch_user_info(
        self, client: AsyncOAuth2Client, endpoint: str, info: UserInfo
    ) -> UserInfo:
        found = UserInfo.model_validate(json_of(await client.get(endpoint)))
        if found.sub != info.sub:  # OpenID Connect Core, section 5.3.2
            raise self._refused("the user info is of another user")
        return found

    async def _read_metadata(self) -> Metadata:
        async with self._client() as client:
            metadata = Metadata.model_validate(await fetch(client, self.provider.discovery_url))
        if metadata.issuer != self.provider.issuer:
            raise ValueError(f"the issuer of the discovery document is {metadata.issuer!r}")
        schemes = {urlsplit(each).scheme for each in metadata.endpoints}
        if not schemes <= ({"https"} if self.provider.is_https else {"http", "https"}):
            raise ValueError("an endpoint of the discovery document is not https://")
        return metadata

    async def _read_keys(self) -> KeySet:
        metadata = await self._metadata.get()
        async with self._client() as client:
            keys = JsonWebKeys.model_validate(await fetch(client, metadata.jwks_uri)).keys
        found = list[Key]()
        for key in keys[:MAX_KEYS]:
            if key.get("kty") in KEY_TYPES and key.get("use") != "enc":
                with suppress(JoseError, ValueError):  # It may be of a kind that is not known.
                    found.append(import_key(key))
        return KeySet(found)

    @asynccontextmanager
    async def _requests(self) -> AsyncIterator[AsyncOAuth2Client]:
        """Yield a client for one step, within its time. What fails in it becomes our errors."""
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._at_once,
                self._client() as client,
            ):
                yield client
        except OAuthError as error:  # such as a code that was used, or has expired
            raise self._refused(f"the token endpoint answered {error.error}") from error
        except JoseError as error:
            raise self._refused(repr(error)) from error
        except FAILURES as error:
            raise Unavailable(
                mark("{provider} does not answer as it should. Try again in a minute."),
                provider=self.provider.title,
            ) from error

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncOAuth2Client]:
        async with AsyncOAuth2Client(
            self.provider.client_id,
            self.provider.client_secret.get_secret_value(),
            scope=SCOPE,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=REQUEST_SECONDS,
            # A compressed response would be as large as it likes.
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [bound]},
        ) as client:
            yield client

    def _refused(self, reason: str) -> InvalidTokenRequest:
        logger.warning("The answer of %s was refused: %s", self.provider.name, reason)
        return InvalidTokenRequest(
            "invalid_grant",
            "The answer of {provider} is not valid, or was used before. Start again.",
            provider=self.provider.title,
        )


def build_clients(providers: Iterable[OidcProvider], site_url: str) -> Mapping[str, ProviderClient]:
    """Return a client for each provider, by its name."""
    tls = httpx2.create_ssl_context()  # It reads files.
    return {
        each.name: ProviderClient(each, f"{site_url}/login/with/{each.name}/callback", tls)
        for each in providers
    }


async def bound(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an async client
    response.stream = BoundedStream(response.stream)


async def fetch(client: AsyncOAuth2Client, url: str) -> Any:
    return json_of(await client.request("GET", url, withhold_token=True))


def json_of(response: httpx2.Response) -> Any:
    response.raise_for_status()
    return response.json()
