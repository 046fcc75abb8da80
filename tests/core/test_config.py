import json
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import NameEmail, SecretStr, ValidationError
from sqlalchemy import make_url

from app.core import config
from app.core.about import NAME
from app.core.config import Settings, get_settings, load_or_create_secret
from app.core.setting_list import setting_rows
from tests.databases import ROOT

STRONG = "0123456789abcdef0123456789abcdef"
POSTGRES = "postgresql+asyncpg://app@db/app"


pytestmark = pytest.mark.usefixtures("empty_working_directory")


def provider_json(**changes: str) -> str:
    given = {"name": "google", "issuer": "https://accounts.google.com"}
    return json.dumps(given | {"client_id": "id", "client_secret": "s3cret"} | changes)


def production(**changes: Any) -> Settings:
    values = {
        "environment": "production",
        "secret_key": STRONG,
        "database_url": POSTGRES,
        "public_url": "https://example.com",
    }
    return Settings(**values | changes)


def test_example_file_lists_all_settings_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {line.lstrip("# ").partition("=")[0]: line for line in lines if "=" in line}
    assert {name.lower() for name in named} == set(Settings.model_fields)
    assert not [line for line in lines if line and not line.startswith("#")]
    for line in named.values():
        name, _, value = line.lstrip("# ").partition("=")
        monkeypatch.setenv(name, value)
    assert Settings() == Settings(_env_file=None) == Settings.model_construct()


def test_environment_overrides_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nHOST=0.0.0.0\n")
    monkeypatch.setenv("PORT", "9001")
    settings = Settings()
    assert (settings.port, settings.host) == (9001, "0.0.0.0")


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "example.com, *.example.com")
    assert Settings().allowed_hosts == ["example.com", "*.example.com"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://App.Example.com/", ["https://app.example.com"]),
        ("https://a.com:443, http://b.com:80/", ["https://a.com", "http://b.com"]),
        ("http://localhost:5173;http://[::1]:5173", ["http://localhost:5173", "http://[::1]:5173"]),
        ("https://a.com https://b.com", ["https://a.com", "https://b.com"]),
        ('["https://a.com/", "https://b.com"]', ["https://a.com", "https://b.com"]),
        ("[]", []),
        ("capacitor://localhost", ["capacitor://localhost"]),
        ("*", ["*"]),
    ],
)
def test_origins_are_normalized(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", value)
    assert get_settings().cors_origins == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Example.COM", ["example.com"]),
        ("https://example.com/", ["example.com"]),
        ("example.com:8000", ["example.com"]),
        ("example.com.", ["example.com"]),
        (".example.com", ["example.com", "*.example.com"]),
        ("*.Example.com", ["*.example.com"]),
        ("::1 [::1]:8000 [0:0::1]", ["[::1]"]),
        ("10.0.0.1:80;example.com", ["10.0.0.1", "example.com"]),
        ('["example.com"]', ["example.com"]),
        ("*", ["*"]),
    ],
)
def test_hosts_are_normalized(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", value)
    assert get_settings().allowed_hosts == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("localhost", ["127.0.0.1", "::1"]),
        ("10.0.0.0/8, 192.168.1.5", ["10.0.0.0/8", "192.168.1.5"]),
        ("[::1];FD00::/8", ["::1", "fd00::/8"]),
        ("*", ["*"]),
    ],
)
def test_proxies_are_normalized(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", value)
    assert get_settings().forwarded_allow_ips == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("postgres://app:pw@db/app", "postgresql+asyncpg://app:pw@db/app"),
        ("postgresql://app@db:5432/app", "postgresql+asyncpg://app@db:5432/app"),
        ("sqlite:///./data/app.db", "sqlite+aiosqlite:///./data/app.db"),
        (
            "postgres://app@db/app?sslmode=require&application_name=web",
            "postgresql+asyncpg://app@db/app?application_name=web&sslmode=require",
        ),
        (
            "postgresql+asyncpg://app@db/app?ssl=require",
            "postgresql+asyncpg://app@db/app?sslmode=require",
        ),
    ],
)
def test_database_url_of_a_provider_is_accepted(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", value)
    assert get_settings().database == make_url(expected)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:s3@cret@db/app",
        "postgresql://app:s3@cret/x@db/app",
        "postgresql://app:s3@cret:x@db/app",
    ],
)
def test_unescaped_password_in_database_url_is_refused_and_not_displayed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit, match=r"^DATABASE_URL: .*%40") as stop:
        get_settings()
    assert "cret" not in str(stop.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_env_file_of_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nMAIL_FROM=Büro <a@example.com>\n", encoding)
    with pytest.raises(SystemExit, match=r"^\.env: .*UTF-8") as stop:
        get_settings()
    assert "\n" not in str(stop.value)


def test_env_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\n", "utf-8-sig")
    assert get_settings().port == 9000


@pytest.mark.parametrize("value", ["a${b}c", "a$b", "$$ab"])
def test_dollar_in_env_file_requires_single_quotes(tmp_path: Path, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# $\nPOSTGRES_PASSWORD='{value}'\nOTHER=$HOME\n")
    password = get_settings().postgres_password
    assert password
    assert password.get_secret_value() == value
    for written in (f'"{value}"', value):
        get_settings.cache_clear()
        path.write_text(f"# a comment\nPOSTGRES_PASSWORD={written}\n")
        with pytest.raises(
            SystemExit, match=r"^POSTGRES_PASSWORD: .*line 2.*single quotes"
        ) as stop:
            get_settings()
        assert value not in str(stop.value)


def test_invalid_line_of_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nSECRET_KEY='open\n")
    with pytest.raises(SystemExit, match=r"^\.env: line 2 "):
        get_settings()


def test_host_variable_of_the_shell_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_TOOLCHAIN_HOST", "x86_64-conda-linux-gnu")
    for name in ("x86_64-conda-linux-gnu", socket.gethostname()):
        monkeypatch.setenv("HOST", name)
        assert Settings().host == "127.0.0.1"
        (tmp_path / ".env").write_text("HOST=0.0.0.0\n")
        assert Settings().host == "0.0.0.0"
        (tmp_path / ".env").unlink()


@pytest.mark.parametrize(
    ("value", "expected"), [("[::1]", "::1"), ("::", "::"), ("localhost", "localhost")]
)
def test_host_is_an_address(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("HOST", value)
    assert get_settings().host == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENVIRONMENT", "staging", "'local', 'test' or 'production'"),
        ("PORT", "x", "valid integer"),
        ("PORT", "70000", "65535"),
        ("DATABASE_POOL_SIZE", "0", "greater than or equal to 1"),
        ("DATABASE_URL", "mysql://x", "sqlite+aiosqlite:// or postgresql+asyncpg://"),
        ("DATABASE_URL", "postgres", "database URL"),
        ("DATABASE_URL", "sqlite+aiosqlite:///:memory:", "file"),
        ("REDIS_URL", "localhost", "redis://HOST:PORT/NUMBER"),
        ("REDIS_URL", "redis://", "redis://HOST:PORT/NUMBER"),
        ("REDIS_URL", "redis://cache:x/0", "redis://HOST:PORT/NUMBER"),
        ("REDIS_URL", "redis://cache/zero", "redis://HOST:PORT/NUMBER"),
        ("RATE_LIMIT_LOGIN", "often", "10/minute"),
        ("RATE_LIMIT_LOGIN", "10/fortnight", "10/minute"),
        ("RATE_LIMIT_LOGIN", "0/minute", "10/minute"),
        ("RATE_LIMIT_LOGIN", "10001/minute", "up to 10000"),
        ("RATE_LIMIT_DEFAULT", "1/second; 10/minute", "10/minute"),
        ("ALLOWED_HOSTS", "*example.com", "*.example.com"),
        ("ALLOWED_HOSTS", "a.com, example.com/app", "'example.com/app' should be a name"),
        ("ALLOWED_HOSTS", "10.0.0.0/8", "'10.0.0.0/8' should be a name"),
        ("ALLOWED_HOSTS", "'example.com'", "such as example.com"),
        ("CORS_ORIGINS", "https://a.com, example.com", "'example.com' should be a scheme"),
        ("CORS_ORIGINS", "https://example.com/app", "without a path"),
        ("CORS_ORIGINS", "https://*.example.com", "https://app.example.com"),
        ("CORS_ORIGINS", "https://example.com:0", "https://app.example.com"),
        ("CORS_ORIGINS", "[1]", "'[1]' should be"),
        ("FORWARDED_ALLOW_IPS", "proxy", "'proxy' should be an address"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1:80", "'10.0.0.1:80' should be an address"),
        ("FORWARDED_ALLOW_IPS", "10.1.2.3/8", "10.0.0.0/8 for the network, or 10.1.2.3"),
        ("FORWARDED_ALLOW_IPS", "*, 10.0.0.1", "* alone"),
        ("HOST", "example.com", "an address to listen on"),
        ("DATABASE_URL", "postgresql+psycopg2://app@db/app", "postgresql+asyncpg://"),
        ("DATABASE_URL", f"{POSTGRES}?sslmode=no-verify", "verify-full"),
        ("DATABASE_URL", f"{POSTGRES}?sslrootcert=ca.pem", "PGSSLROOTCERT"),
        ("DATABASE_URL", f"{POSTGRES}?channel_binding=require", "leave it out"),
        ("DATABASE_URL", f"{POSTGRES}?pgbouncer=true", "DATABASE_PREPARED_STATEMENTS=false"),
        ("DATABASE_URL", f"{POSTGRES}?connect_timeout=5", "takes no connect_timeout"),
        ("DATABASE_URL", f"{POSTGRES}?sslmode=require&sslmode=disable", "more than once"),
        ("REDIS_URL", "redis://cache:6379#x@host/0", "redis://HOST:PORT/NUMBER"),
        ("PUBLIC_URL", "example.com", "http:// or https://"),
        ("PUBLIC_URL", "https://", "a host"),
        ("PUBLIC_URL", "https://example.com/?a=1", "without a path"),
        ("PUBLIC_URL", "https://example.com/app", "without a path"),
        ("PUBLIC_URL", "https://example.com//", "without a path"),
        ("ROOT_PATH", "shop/", "pattern"),
        ("SMTP_URL", "mail:25", "smtp://, smtp+starttls:// or smtps://"),
        ("SMTP_URL", "smtp://user:s3cret@", "name a host"),
        ("SMTP_URL", "smtp://user:12/34@mail", "name a host"),
        ("SMTP_URL", "smtp://user:12#34@mail", "name a host"),
        ("PUBLIC_URL", "ftp://example.com", "http:// or https://"),
        ("MAIL_FROM", "App <app>", "email"),
        ("UPLOAD_TYPES", "image/png, image/svg+xml", "'image/png', 'image/jpeg'"),
        ("S3_ENDPOINT", "minio:9000", "http:// or https://"),
        ("S3_ACCESS_KEY_ID", "alone", "goes with S3_SECRET_ACCESS_KEY"),
        ("FIRST_SUPERUSER_PASSWORD", "short", "10"),
        ("FIRST_SUPERUSER_EMAIL", "root", "email"),
        ("FIRST_SUPERUSER_PASSWORD", "long enough alone", "FIRST_SUPERUSER_EMAIL"),
        ("OIDC_PROVIDERS", "google", "should be a JSON list"),
        ("OIDC_PROVIDERS", f"[{provider_json(issuer='x')}]", "[0].issuer: should be https://"),
        ("OIDC_PROVIDERS", f"[{provider_json(name='A B')}]", "[0].name: "),
        ("OIDC_PROVIDERS", f"[{provider_json(client_secret='')}]", "[0].client_secret: "),
        ("OIDC_PROVIDERS", f"[{provider_json(scope='x')}]", "[0].scope: "),
        (
            "OIDC_PROVIDERS",
            f"[{provider_json()}, {provider_json()}]",
            "two providers have the name",
        ),
        ("REFRESH_TOKEN_DAYS", "99999999", "3650"),
        ("REFRESH_REUSE_GRACE_SECONDS", "61", "60"),
        ("SESSION_IDLE_DAYS", "0", "1"),
    ],
)
def test_invalid_value_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        get_settings()
    line = str(stop.value)
    assert line.startswith((f"{name}: ", "FIRST_SUPERUSER_", "OIDC_PROVIDERS[0]."))
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("value", "sender"),
    [("shop@example.com", NAME), ("Orders <shop@example.com>", "Orders")],
)
def test_sender_without_a_name_gets_the_name_of_the_project(
    monkeypatch: pytest.MonkeyPatch, value: str, sender: str
) -> None:
    monkeypatch.setenv("MAIL_FROM", value)
    assert get_settings().mail_from == NameEmail(sender, "shop@example.com")


@pytest.mark.parametrize("url", ["redis://cache", "rediss://:p%40ss@cache:6380/5"])
def test_redis_url_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert Settings().redis == url


@pytest.mark.parametrize("limit", ["100/5minutes", "100 per 5 minutes", "100/5 MINUTE"])
def test_rate_limit_is_parsed(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("RATE_LIMIT_LOGIN", limit)
    settings = Settings()
    assert (settings.rate_limit_login.amount, settings.rate_limit_login.get_expiry()) == (100, 300)
    assert settings.rate_limit_default is None


def test_invalid_smtp_url_is_not_displayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://user:s3#cret@mail:25")
    with pytest.raises(SystemExit) as stop:
        get_settings()
    assert "s3" not in str(stop.value)


def test_links_begin_with_the_port_of_the_server_unless_they_are_told_another() -> None:
    assert Settings(port=9000).site_url == "http://127.0.0.1:9000"
    assert Settings(port=9000, public_url="https://example.com").site_url == "https://example.com"


def test_trailing_slash_of_the_public_url_is_removed() -> None:
    assert Settings(public_url="https://example.com/").public_url == "https://example.com"
    assert Settings(public_url="http://[::1]:8000").public_url == "http://[::1]:8000"
    assert Settings(public_url="https://Example.com:443").public_url == "https://example.com"


def test_production_requires_a_strong_secret_key() -> None:
    for weak in (None, "", "x" * 31):
        with pytest.raises(ValidationError, match="SECRET_KEY: production takes at least 32 bytes"):
            production(secret_key=weak)
    assert production().signing_key == STRONG
    production(secret_key="üabcdefghijklmnopqrstuvwxyz12345")  # The length is in bytes.


@pytest.mark.parametrize("key", ["x" * 64, "changeme" * 8, "0123" * 16, "secret_key_" * 3])
def test_secret_key_of_low_entropy_is_refused_in_production(key: str) -> None:
    with pytest.raises(ValidationError, match="SECRET_KEY: production takes at least 9 diff"):
        production(secret_key=key)
    with pytest.raises(ValidationError, match="SECRET_KEY_PREVIOUS: production takes at least 9"):
        production(secret_key_previous=key)


@pytest.mark.parametrize("length", [8, 16, 32])
def test_random_secret_key_is_accepted_in_production(length: int) -> None:
    production(secret_key=sha256(bytes(length)).hexdigest()[:32])


@pytest.mark.parametrize("value", ["*", " *, "])
def test_wildcard_for_proxies_is_refused_in_production(value: str) -> None:
    with pytest.raises(ValidationError, match="FORWARDED_ALLOW_IPS: production takes"):
        production(forwarded_allow_ips=value)


def test_wildcard_for_hosts_is_refused_in_production() -> None:
    with pytest.raises(ValidationError, match="ALLOWED_HOSTS: production takes"):
        production(allowed_hosts=["example.com", "*"])
    production(allowed_hosts=["*.example.com"])


def test_docs_are_off_in_production_unless_enabled() -> None:
    assert Settings().has_docs
    assert not Settings(docs_enabled=False).has_docs
    assert not production().has_docs
    assert production(docs_enabled=True).has_docs


def test_graphiql_is_off_in_production_unless_enabled() -> None:
    assert Settings().has_graphiql
    assert not Settings(graphiql_enabled=False).has_graphiql
    assert not production().has_graphiql
    assert production(graphiql_enabled=True).has_graphiql


def test_production_requires_a_strong_database_password() -> None:
    for weak in ({"postgres_password": "app"}, {"database_url": "postgresql+asyncpg://a:b@db/a"}):
        with pytest.raises(ValidationError, match="POSTGRES_PASSWORD: production takes"):
            production(**weak)
    production()  # Without a password, the server authenticates the client by other means.


def test_production_requires_https() -> None:
    with pytest.raises(ValidationError, match="PUBLIC_URL: production takes https://"):
        production(public_url="http://example.com")
    assert production().is_https
    assert not Settings().is_https


def test_production_requires_https_of_providers() -> None:
    providers = f"[{provider_json(issuer='http://accounts.example.com')}]"
    with pytest.raises(ValidationError, match="OIDC_PROVIDERS: production takes https://"):
        production(oidc_providers=providers)


def test_secret_of_a_provider_is_not_displayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_PROVIDERS", f"[{provider_json()}]")
    settings = get_settings()
    (row,) = [row for row in setting_rows(settings) if row[0] == "OIDC_PROVIDERS"]
    assert row[1:] == ("google", "environment")
    assert "s3cret" not in repr(settings)


def test_issuer_can_be_given_by_its_discovery_address() -> None:
    issuer = "https://accounts.google.com"
    given = f"[{provider_json(issuer=f'{issuer}/.well-known/openid-configuration')}]"
    (provider,) = production(oidc_providers=given).oidc_providers
    assert (provider.issuer, provider.title) == (issuer, "Google")


def test_database_password_needs_no_quoting() -> None:
    settings = production(postgres_password="p@ss:w/rd#%20 16!")
    assert settings.database.password == "p@ss:w/rd#%20 16!"
    assert "p@ss" not in repr(settings)


def test_password_in_the_database_url_takes_precedence() -> None:
    url = "postgresql+asyncpg://app:inurl@db/app"
    settings = Settings(database_url=url, postgres_password=SecretStr("other"))
    assert settings.database.password == "inurl"


def test_local_secret_key_is_created_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    key = Settings().signing_key
    assert len(key.encode()) >= config.MIN_SECRET_KEY_BYTES
    assert Settings().signing_key == key
    path = tmp_path / "data" / "secret_key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]


def test_concurrently_created_secret_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_race(draft: Path, path: Path) -> None:
        path.write_text("the other's")
        raise FileExistsError

    monkeypatch.setattr("os.link", lose_the_race)
    assert load_or_create_secret("secret_key") == "the other's"
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["secret_key"]


def test_lab_is_enabled_by_default_in_local_only() -> None:
    assert Settings().has_lab
    assert not Settings(lab_enabled=False).has_lab
    assert not production().has_lab
    assert production(lab_enabled=True).has_lab


def test_first_superuser_has_a_default_in_local_only() -> None:
    assert Settings(environment="test").first_superuser is None
    assert production().first_superuser is None
    email, password = Settings().first_superuser or ("", "")
    assert email == "admin@example.com"
    assert Settings().first_superuser == (email, password)
    given = production(
        first_superuser_email="root@example.com", first_superuser_password="0123456789"
    )
    assert given.first_superuser == ("root@example.com", "0123456789")


def test_sqlite_without_returning_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr("sqlite3.sqlite_version", "3.34.1")
    with pytest.raises(SystemExit, match=r"^DATABASE_URL: SQLite 3\.35 .* has 3\.34\.1.*$"):
        get_settings()
    monkeypatch.setenv("DATABASE_URL", POSTGRES)
    assert get_settings().database.host == "db"


@pytest.mark.parametrize("value", ["usd", "US", "dollars", "XYZ", "$", "U5D"])
def test_unknown_currency_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="should be a currency code of ISO 4217"):
        Settings(currency=value)
