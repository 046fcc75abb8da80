"""Settings, read from the environment and then from `.env`. `.env.example` explains each."""

import os
import secrets
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from limits import RateLimitItem, RateLimitItemPerMinute, parse_many
from pydantic import (
    BeforeValidator,
    EmailStr,
    Field,
    InstanceOf,
    NameEmail,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy import URL

from app.core.about import NAME
from app.core.provider_settings import OidcProviders
from app.core.setting_values import (
    NOT_UTF_8,
    EnvFileError,
    is_host_of_shell,
    list_of,
    parse_currency,
    parse_database_url,
    parse_hosts,
    parse_listen_address,
    parse_network,
    parse_origin,
    parse_origins,
    parse_proxies,
    read_env_file,
    split,
)

DATA_DIR = Path("data")
MIN_SECRET_KEY_BYTES = 32
MIN_SECRET_KEY_CHARACTERS = 9  # different ones; 32 random hexadecimal digits have more
MIN_SQLITE = (3, 35)  # the first with RETURNING and DROP COLUMN
MIN_DATABASE_PASSWORD_CHARACTERS = 16
MAX_RATE_LIMIT = 10_000  # the time of each hit is kept


def _parse_rate_limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        (limit,) = parse_many(value)
        if 1 <= limit.amount <= MAX_RATE_LIMIT:
            return limit
    except ValueError:  # no notation at all, or several limits
        pass
    raise ValueError(f"should be such as 10/minute, or 100 per 5 minutes; up to {MAX_RATE_LIMIT}")


RateLimit = Annotated[InstanceOf[RateLimitItem], BeforeValidator(_parse_rate_limit)]


def _is_url(value: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(value)
        # An @ after the host is one of a password in which a / or # is not escaped.
        has_rest = "@" in parts.path + parts.query + parts.fragment
        is_of_host = bool(parts.hostname) and parts.port != 0 and not has_rest
        return parts.scheme in schemes and is_of_host
    except ValueError:  # it cites the value, which may be a secret
        return False


Hosts = Annotated[list[str], NoDecode, BeforeValidator(list_of(parse_hosts))]
Origins = Annotated[list[str], NoDecode, BeforeValidator(list_of(parse_origins))]
Networks = Annotated[list[str], NoDecode, BeforeValidator(list_of(parse_network))]
Proxies = Annotated[list[str], NoDecode, BeforeValidator(list_of(parse_proxies))]
UploadType = Literal[
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "application/pdf",
    "text/plain",
    "text/csv",
]
UploadTypes = Annotated[list[UploadType], NoDecode, BeforeValidator(split)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Literal["local", "test", "production"] = "local"
    secret_key: SecretStr | None = None
    secret_key_previous: SecretStr | None = None

    database_url: SecretStr = SecretStr("sqlite+aiosqlite:///./data/app.db")
    postgres_password: SecretStr | None = None
    database_pool_size: int = Field(default=10, ge=1)
    database_pool_timeout: float = Field(default=10, gt=0)
    database_prepared_statements: bool = True
    database_statement_timeout: float = Field(default=15, gt=0)
    sqlite_synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    lean_routes: bool = True
    session_cache: bool = True
    redis_url: SecretStr | None = None

    host: Annotated[str, BeforeValidator(parse_listen_address)] = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    web_concurrency: int = Field(default=1, ge=1)
    forwarded_allow_ips: Proxies = ["127.0.0.1"]
    allowed_hosts: Hosts = ["localhost", "127.0.0.1", "[::1]"]
    cors_origins: Origins = []
    accept_weak_etags: bool = False
    root_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    max_body_bytes: int = Field(default=1_048_576, ge=1)
    max_connections: int = Field(default=1000, ge=1)
    request_timeout: float = Field(default=20, gt=0)
    response_timeout: float = Field(default=60, gt=0)
    thread_limit: int = Field(default=40, ge=1)

    max_upload_bytes: int = Field(default=10_485_760, ge=1)
    upload_quota_bytes: int = Field(default=1_073_741_824, ge=1)
    upload_types: UploadTypes = [*get_args(UploadType)]
    storage_folder: Path = DATA_DIR / "files"
    s3_bucket: str | None = None
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None

    signup_enabled: bool = True
    require_verified_email: bool = False
    require_second_factor: Literal["superusers"] | None = None
    oidc_providers: OidcProviders = []
    first_superuser_email: EmailStr | None = None
    first_superuser_password: SecretStr | None = Field(default=None, min_length=10, max_length=128)
    access_token_minutes: int = Field(default=15, ge=1, le=1440)
    refresh_token_days: int = Field(default=30, ge=1, le=3650)
    session_idle_days: int = Field(default=14, ge=1, le=3650)
    password_confirmation_minutes: int = Field(default=15, ge=1, le=1440)
    security_event_days: int = Field(default=90, ge=1, le=3650)
    refresh_reuse_grace_seconds: int = Field(default=10, ge=0, le=60)

    rate_limit_login: RateLimit = RateLimitItemPerMinute(10)
    rate_limit_default: RateLimit | None = None
    rate_limit_api_key: RateLimit | None = None
    public_url: str = "http://127.0.0.1:8000"
    smtp_url: SecretStr | None = None
    mail_from: NameEmail = NameEmail(NAME, "noreply@example.com")

    webhook_allowed_networks: Networks = []

    currency: Annotated[str, BeforeValidator(parse_currency)] = "USD"

    metrics_enabled: bool = False
    metrics_host: Annotated[str, BeforeValidator(parse_listen_address)] = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=1, le=65535)

    frontend_dir: Path | None = None
    docs_enabled: bool | None = None
    graphiql_enabled: bool | None = None
    lab_enabled: bool | None = None
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the `.env` file as Compose does, and leave out a HOST that a shell has set."""
        environment: dict[str, Any] = env_settings()
        if is_host_of_shell(environment.get("host")):
            del environment["host"]
        sources = [init_settings, InitSettingsSource(settings_cls, environment)]
        assert isinstance(dotenv_settings, DotEnvSettingsSource)  # noqa: S101
        path = dotenv_settings.env_file
        if not isinstance(path, str) or not os.path.isfile(path):  # a pipe can be read once
            return *sources, dotenv_settings
        values = read_env_file(Path(path), settings_cls.model_fields)
        return *sources, InitSettingsSource(settings_cls, dict(values))

    @property
    def database(self) -> URL:
        url = parse_database_url(self.database_url.get_secret_value())
        if self.postgres_password and url.password is None and url.get_backend_name() != "sqlite":
            url = url.set(password=self.postgres_password.get_secret_value())
        return url

    @property
    def redis(self) -> str | None:
        return self.redis_url.get_secret_value() if self.redis_url else None

    @property
    def is_https(self) -> bool:
        """Return whether browsers use HTTPS, even if a proxy terminates it."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def host_name(self) -> str:
        """The host of `PUBLIC_URL`."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def site_url(self) -> str:
        """Return PUBLIC_URL with ROOT_PATH, which the links in mails begin with."""
        return f"{self.public_url}{self.root_path}"

    @property
    def signing_key(self) -> str:
        """Return SECRET_KEY or, outside of production, a generated key that is kept in `data/`."""
        return (
            self.secret_key.get_secret_value()
            if self.secret_key
            else load_or_create_secret("secret_key")
        )

    @property
    def previous_signing_key(self) -> str | None:
        return self.secret_key_previous.get_secret_value() if self.secret_key_previous else None

    @property
    def first_superuser(self) -> tuple[str, str] | None:
        """Return the email address and the password. In `local`, there is a default."""
        if self.first_superuser_email and self.first_superuser_password:
            return self.first_superuser_email, self.first_superuser_password.get_secret_value()
        if self.environment == "local":
            return "admin@example.com", load_or_create_secret("superuser_password")
        return None

    @property
    def has_docs(self) -> bool:
        return self.environment != "production" if self.docs_enabled is None else self.docs_enabled

    @property
    def api_accepts_cookie(self) -> bool:
        """Return whether something on this site calls the API by the cookie of the pages."""
        return self.frontend_dir is not None or self.has_docs

    @property
    def has_graphiql(self) -> bool:
        enabled = self.graphiql_enabled
        return self.environment != "production" if enabled is None else enabled

    @property
    def has_lab(self) -> bool:
        return self.environment == "local" if self.lab_enabled is None else self.lab_enabled

    @field_validator("database_url")
    @classmethod
    def _is_supported(cls, value: SecretStr) -> SecretStr:
        parse_database_url(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value() if value else "redis://none"
        is_url = _is_url(url, "redis", "rediss")
        database = urlsplit(url).path.removeprefix("/") if is_url else ""
        if not is_url or (database and not database.isdecimal()):
            raise ValueError("should be redis://HOST:PORT/NUMBER, or rediss:// for TLS")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _is_an_endpoint(cls, value: str | None) -> str | None:
        if value and not _is_url(value, "http", "https"):
            raise ValueError("should be http:// or https://, and name a host")
        return value

    @field_validator("frontend_dir")
    @classmethod
    def _has_an_index(cls, value: Path | None) -> Path | None:
        if value and not (value / "index.html").is_file():
            raise ValueError("should be a folder with an index.html, as a build makes it")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            origin = parse_origin(value)
        except ValueError:
            origin = ""
        if not origin.startswith(("http://", "https://")):
            raise ValueError("should be http:// or https:// and a host, without a path")
        return origin

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_url(value.get_secret_value(), "smtp", "smtp+starttls", "smtps"):
            raise ValueError("should be smtp://, smtp+starttls:// or smtps://, and name a host")
        return value

    @field_validator("mail_from", mode="before")
    @classmethod
    def _has_a_name(cls, value: object) -> object:
        is_address_alone = isinstance(value, str) and "<" not in value
        return f'"{NAME}" <{value}>' if is_address_alone else value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _is_all_or_some(cls, value: list[str]) -> list[str]:
        if "*" in value and len(value) > 1:
            raise ValueError("should be * alone, or addresses and networks without it")
        return value

    @model_validator(mode="after")
    def _has_its_port_in_the_default_public_url(self) -> Self:
        if "public_url" not in self.model_fields_set:
            self.public_url = f"http://127.0.0.1:{self.port}"
        return self

    @model_validator(mode="after")
    def _has_a_recent_sqlite(self) -> Self:
        is_sqlite = self.database.get_backend_name() == "sqlite"
        if is_sqlite and sqlite3.sqlite_version_info < MIN_SQLITE:
            raise ValueError(
                "DATABASE_URL: SQLite 3.35 or later is needed, and this Python has "
                f"{sqlite3.sqlite_version}; take a newer Python, or PostgreSQL"
            )
        return self

    @model_validator(mode="after")
    def _has_a_whole_superuser(self) -> Self:
        if (self.first_superuser_email is None) != (self.first_superuser_password is None):
            raise ValueError(
                "FIRST_SUPERUSER_EMAIL: goes with FIRST_SUPERUSER_PASSWORD, or both are left out"
            )
        return self

    @model_validator(mode="after")
    def _has_both_s3_keys(self) -> Self:
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "S3_ACCESS_KEY_ID: goes with S3_SECRET_ACCESS_KEY, or both are left out"
            )
        return self

    @model_validator(mode="after")
    def _is_safe_in_production(self) -> Self:
        if self.environment != "production":
            return self
        key = self.secret_key.get_secret_value() if self.secret_key else ""
        _require_strong("SECRET_KEY", key)
        if self.previous_signing_key is not None:
            _require_strong("SECRET_KEY_PREVIOUS", self.previous_signing_key)
        if "*" in self.forwarded_allow_ips:
            raise ValueError(
                "FORWARDED_ALLOW_IPS: production requires the addresses of the proxies; with * any "
                "client can give itself any address"
            )
        if "*" in self.allowed_hosts:
            raise ValueError("ALLOWED_HOSTS: production requires the names of this site, and not *")
        password = self.database.password
        if password is not None and len(password) < MIN_DATABASE_PASSWORD_CHARACTERS:
            raise ValueError(
                "POSTGRES_PASSWORD: production requires at least "
                f"{MIN_DATABASE_PASSWORD_CHARACTERS} characters"
            )
        if not self.is_https:
            raise ValueError("PUBLIC_URL: production requires https://, since sign-in is by cookie")
        if plain := [each.name for each in self.oidc_providers if not each.is_https]:
            raise ValueError(
                f"OIDC_PROVIDERS: production requires https:// for the issuer of {plain}"
            )
        return self


def _require_strong(name: str, key: str) -> None:
    if lack := lack_of_strength(key):
        raise ValueError(
            f"{name}: production requires {lack}; `openssl rand -base64 48` makes some"
        )


def lack_of_strength(key: str) -> str | None:
    """Return what a key lacks to be strong; None if it is strong."""
    if len(key.encode()) < MIN_SECRET_KEY_BYTES:
        return f"at least {MIN_SECRET_KEY_BYTES} bytes"
    if len(set(key)) < MIN_SECRET_KEY_CHARACTERS:
        return f"at least {MIN_SECRET_KEY_CHARACTERS} different characters"
    return None


@lru_cache
def get_settings() -> Settings:
    """Return the settings. Exit with one line for each setting that has an invalid value."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise SystemExit(NOT_UTF_8) from None
    except EnvFileError as error:
        raise SystemExit(str(error)) from None
    except ValidationError as error:
        raise SystemExit(
            "\n".join(_line(each["loc"], each["msg"]) for each in error.errors())
        ) from None


def _line(loc: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    if not loc:
        return message
    name = str(loc[0]).upper()
    if len(loc) > 2:  # a member of an element, such as OIDC_PROVIDERS[0].name
        name += "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in loc[1:])
    return f"{name}: {message}"


def load_or_create_secret(name: str) -> str:
    """Return the secret in `data/NAME`, which the first process creates."""
    path = DATA_DIR / name
    if not path.exists():
        DATA_DIR.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(f".{name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48 if name == "secret_key" else 15))
        try:
            os.link(draft, path)  # fails if another was faster, and nobody ever sees half a secret
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
