"""TLS to PostgreSQL: `sslmode` in DATABASE_URL, and PGSSLROOTCERT."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from app.cli import cli
from app.core.config import get_settings
from app.core.database.errors import one_line
from app.core.database.unit_of_work import Database
from app.core.errors import DatabaseUnavailable
from tests.accounts.session_cache import until_cache_is_held
from tests.conftest import client_of, make_settings, running
from tests.databases import alembic_process
from tests.tls_postgres import INITDB, TlsServer, serving_tls

pytestmark = pytest.mark.skipif(not INITDB, reason="PostgreSQL's server is not installed")


@pytest.fixture(scope="module")
def tls_server() -> Iterator[TlsServer]:
    with serving_tls() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_root_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the root certificates of the user who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)


async def tls_version(url: str) -> str | None:
    database = Database(make_settings(url))
    try:
        async with database.reading() as session:
            version: str | None = await session.scalar(
                text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            )
            return version
    finally:
        await database.dispose()


async def refusal(url: str) -> str:
    with pytest.raises(DatabaseUnavailable) as error:
        await tls_version(url)
    message = one_line(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("mode", ["prefer", "require"])
async def test_connection_is_encrypted_without_a_root_certificate(
    tls_server: TlsServer, mode: str
) -> None:
    assert str(await tls_version(tls_server.url(mode))).startswith("TLS")


async def test_unencrypted_connection_is_refused_by_the_server(tls_server: TlsServer) -> None:
    assert "no encryption" in await refusal(tls_server.url("disable"))


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_verification_without_a_root_certificate_is_refused(
    tls_server: TlsServer, mode: str
) -> None:
    assert "root.crt" in await refusal(tls_server.url(mode))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_wrong_root_certificate_is_refused(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Even `require` verifies where there is a root certificate, as libpq does."""
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_server.foreign_certificate))
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(tls_server.url(mode))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_right_root_certificate_is_accepted(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_server.certificate))
    assert str(await tls_version(tls_server.url(mode))).startswith("TLS")


async def test_certificate_of_another_host_is_refused_by_verify_full_only(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_server.certificate))
    assert "not valid for '127.0.0.1'" in await refusal(tls_server.url("verify-full", "127.0.0.1"))
    assert await tls_version(tls_server.url("verify-ca", "127.0.0.1"))


async def test_application_verifies_every_connection(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes no other connections: the pool's, the listener's, and the migrations'."""
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_server.certificate))
    url = tls_server.url("verify-full")
    await asyncio.to_thread(alembic_process, url, "upgrade", "head")
    async with running(make_settings(url)) as app, client_of(app) as client:
        assert (await client.get("/health/ready")).status_code == 200
        await until_cache_is_held(app)


@pytest.mark.usefixtures("empty_working_directory")
@pytest.mark.parametrize("command", [("db", "upgrade"), ("jobs", "list"), ("check", "--deploy")])
def test_command_names_a_wrong_certificate_in_one_line(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_server.foreign_certificate))
    monkeypatch.setenv("DATABASE_URL", tls_server.url("verify-full"))
    get_settings.cache_clear()
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    reports = [each for each in lines if "not reachable" in each and "WARNING" not in each]
    assert len(reports) == 1
    assert "CERTIFICATE_VERIFY_FAILED" in reports[0]
