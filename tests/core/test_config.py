from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.core import config
from app.core.config import Settings, get_settings, load_or_create_secret
from tests.databases import ROOT

STRONG = "0123456789abcdef0123456789abcdef"
POSTGRES = "postgresql+asyncpg://app@db/app"


pytestmark = pytest.mark.usefixtures("elsewhere")


def production(**changes: Any) -> Settings:
    values = {
        "environment": "production",
        "secret_key": STRONG,
        "database_url": POSTGRES,
        "public_url": "https://example.com",
    }
    return Settings(**values | changes)


def test_the_example_names_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {line.lstrip("# ").partition("=")[0]: line for line in lines if "=" in line}
    assert {name.lower() for name in named} == set(Settings.model_fields)
    assert not [line for line in lines if line and not line.startswith("#")]
    for line in named.values():
        name, _, value = line.lstrip("# ").partition("=")
        monkeypatch.setenv(name, value)
    assert Settings() == Settings(_env_file=None) == Settings.model_construct()


def test_the_environment_comes_before_the_file(
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
    ("name", "value", "says"),
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
        ("PUBLIC_URL", "example.com", "http:// or https://"),
        ("PUBLIC_URL", "https://", "a host"),
        ("PUBLIC_URL", "https://example.com/?a=1", "without a path"),
        ("PUBLIC_URL", "https://example.com/app", "without a path"),
        ("PUBLIC_URL", "https://example.com//", "without a path"),
        ("SMTP_URL", "mail:25", "smtp://, smtp+starttls:// or smtps://"),
        ("SMTP_URL", "smtp://user:s3cret@", "name a host"),
        ("MAIL_FROM", "App <app>", "email"),
        ("FIRST_SUPERUSER_PASSWORD", "short", "10"),
        ("FIRST_SUPERUSER_EMAIL", "root", "email"),
        ("FIRST_SUPERUSER_PASSWORD", "long enough alone", "FIRST_SUPERUSER_EMAIL"),
        ("REFRESH_TOKEN_DAYS", "99999999", "3650"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        get_settings()
    line = str(stop.value)
    assert line.startswith((f"{name}: ", "FIRST_SUPERUSER_"))
    assert says in line
    assert "\n" not in line


@pytest.mark.parametrize("url", ["redis://cache", "rediss://:p%40ss@cache:6380/5"])
def test_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert Settings().redis == url


@pytest.mark.parametrize("limit", ["100/5minutes", "100 per 5 minutes", "100/5 MINUTE"])
def test_rate_limits(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("RATE_LIMIT_LOGIN", limit)
    settings = Settings()
    assert (settings.rate_limit_login.amount, settings.rate_limit_login.get_expiry()) == (100, 300)
    assert settings.rate_limit_default is None


def test_a_wrong_smtp_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://user:s3#cret@mail:25")
    with pytest.raises(SystemExit) as stop:
        get_settings()
    assert "s3" not in str(stop.value)


def test_links_begin_with_one_slash() -> None:
    assert Settings(public_url="https://example.com/").public_url == "https://example.com"
    assert Settings(public_url="http://[::1]:8000").public_url == "http://[::1]:8000"


def test_production_takes_a_strong_key() -> None:
    for weak in (None, "", "x" * 31):
        with pytest.raises(ValidationError, match="SECRET_KEY: production takes at least 32 bytes"):
            production(secret_key=weak)
    assert production().signing_key == STRONG
    production(secret_key="ü" * 16)  # bytes count, and not characters


def test_production_takes_a_strong_database_password() -> None:
    for weak in ({"postgres_password": "app"}, {"database_url": "postgresql+asyncpg://a:b@db/a"}):
        with pytest.raises(ValidationError, match="POSTGRES_PASSWORD: production takes"):
            production(**weak)
    production()  # none at all: the server trusts the client by other means


def test_production_is_reached_by_https() -> None:
    with pytest.raises(ValidationError, match="PUBLIC_URL: production takes https://"):
        production(public_url="http://example.com")
    assert production().is_https
    assert not Settings().is_https


def test_the_password_needs_no_quoting() -> None:
    settings = production(postgres_password="p@ss:w/rd#%20 16!")
    assert settings.database.password == "p@ss:w/rd#%20 16!"
    assert "p@ss" not in repr(settings)


def test_the_password_in_the_url_comes_first() -> None:
    url = "postgresql+asyncpg://app:inurl@db/app"
    settings = Settings(database_url=url, postgres_password=SecretStr("other"))
    assert settings.database.password == "inurl"


def test_a_local_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = Settings().signing_key
    assert len(key.encode()) >= config.MIN_SECRET_KEY_BYTES
    assert Settings().signing_key == key
    path = tmp_path / "data" / "secret_key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]


def test_of_two_that_make_a_secret_at_once_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_process_is_faster(draft: Path, path: Path) -> None:
        path.write_text("the other's")
        raise FileExistsError

    monkeypatch.setattr("os.link", other_process_is_faster)
    assert load_or_create_secret("secret_key") == "the other's"
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["secret_key"]


def test_only_local_has_the_lab_without_being_told() -> None:
    assert Settings().has_lab
    assert not Settings(lab_enabled=False).has_lab
    assert not production().has_lab
    assert production(lab_enabled=True).has_lab


def test_only_local_has_a_superuser_without_being_told() -> None:
    assert Settings(environment="test").first_superuser is None
    assert production().first_superuser is None
    email, password = Settings().first_superuser or ("", "")
    assert email == "admin@example.com"
    assert Settings().first_superuser == (email, password)
    given = production(
        first_superuser_email="root@example.com", first_superuser_password="0123456789"
    )
    assert given.first_superuser == ("root@example.com", "0123456789")
