"""`app users ...` and `app auth ...`, on a database of their own."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from typer.testing import CliRunner, Result

from app.accounts import jobs, repository
from app.accounts.models import AuthSession
from app.cli import cli
from app.core.config import Settings
from app.core.database.models import utc_now
from app.core.database.unit_of_work import Database
from app.core.http.idempotency_records import IdempotencyRecord
from app.resources import app_resources
from tests.accounts.conftest import Authenticator, verify_address
from tests.conftest import PASSWORD, SECRET_KEY, client_of, make_person, make_settings, running


@pytest.fixture(autouse=True)
def environment(
    database_url: str, empty_working_directory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)


def invoke(*arguments: str, password: str | None = PASSWORD) -> Result:
    typed = f"{password}\n{password}\n" if password else None
    return CliRunner().invoke(cli, arguments, input=typed)


def run(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    return result.output


def sign_in(database_url: str, email: str, password: str) -> int:
    async def call() -> int:
        async with running(make_settings(database_url)) as app, client_of(app) as client:
            form = {"grant_type": "password", "username": email, "password": password}
            return (await client.post("/api/v1/auth/token", data=form)).status_code

    return asyncio.run(call())


def test_created_users_are_listed(database_url: str) -> None:
    assert "1  ann@example.com" in run("users", "create", "ann@example.com")
    run("users", "create", "root@example.com", "--superuser")
    listed = run("users", "list").splitlines()
    assert [line.split() for line in listed if "@" in line] == [
        ["2", "root@example.com", "superuser"],
        ["1", "ann@example.com"],
    ]
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 200


def test_deactivated_user_cannot_sign_in_with_a_new_password(database_url: str) -> None:
    run("users", "create", "ann@example.com")
    result = invoke("users", "set-password", "ANN@example.com", password="a better horse battery")
    assert result.exit_code == 0, result.output
    assert "The password of ANN@example.com is set" in result.output
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 400
    assert sign_in(database_url, "ann@example.com", "a better horse battery") == 200
    output = run("users", "deactivate", "ANN@example.com")
    assert "ann@example.com is deactivated, and its sessions have ended." in output
    assert "inactive" in run("users", "list")
    assert sign_in(database_url, "ann@example.com", "a better horse battery") == 400


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["users", "create", "ann"], "email: "),
        (["users", "deactivate", "nobody@example.com"], "User Not Found (email: nobody@"),
        (["users", "set-password", "nobody@example.com"], "User Not Found"),
        (["users", "remove-second-factor", "nobody@example.com"], "User Not Found"),
    ],
)
def test_error_is_printed_on_one_line(arguments: list[str], says: str) -> None:
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit)
    assert str(result.exception).startswith(says)


def test_taken_address_and_weak_password_are_refused() -> None:
    run("users", "create", "ann@example.com")
    assert "already" in str(invoke("users", "create", "Ann@example.com").exception)
    result = invoke("users", "create", "bob@example.com", password="short")
    assert str(result.exception).startswith("password: ")


async def set_up_second_factor(
    settings: Settings, password_hash: str, authenticator: Authenticator
) -> None:
    async with running(settings) as app:
        ann = await make_person(app, password_hash, "ann")
        async with ann.client:
            await verify_address(app, ann)
            await authenticator.set_up(ann)


def test_renewal_of_the_key_fails_for_a_secret_of_an_unknown_key(
    database_url: str,
    password_hash: str,
    authenticator: Authenticator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(database_url)
    asyncio.run(set_up_second_factor(settings, password_hash, authenticator))
    monkeypatch.setenv("SECRET_KEY", "a new key of 32 bytes or more")
    result = invoke("auth", "renew-key")
    assert (result.exit_code, "Unreadable: 1" in result.output) == (1, True)


def test_removed_second_factor_is_not_asked_for(
    database_url: str, password_hash: str, authenticator: Authenticator
) -> None:
    settings = make_settings(database_url)
    asyncio.run(set_up_second_factor(settings, password_hash, authenticator))
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 400
    assert "Encrypted: 1" in run("auth", "renew-key")
    assert "without a second factor" in run("users", "remove-second-factor", "ann@example.com")
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 200
    assert "no second factor" in str(
        invoke("users", "remove-second-factor", "ann@example.com").exception
    )


def test_last_superuser_cannot_be_deactivated() -> None:
    run("users", "create", "root@example.com", "--superuser")
    assert "superuser" in str(invoke("users", "deactivate", "root@example.com").exception)


def test_cleanup_deletes_expired_sessions(database_url: str) -> None:
    run("users", "create", "ann@example.com")
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 200

    async def expire() -> None:
        database = Database(make_settings(database_url))
        async with database.transaction() as session:
            past = utc_now() - timedelta(days=1)
            await session.execute(update(AuthSession).values(expires_at=past))
        await database.dispose()

    assert "Deleted: 0" in run("auth", "cleanup")
    asyncio.run(expire())
    assert "Deleted: 1" in run("auth", "cleanup")


def test_cleanup_with_a_fast_clock_deletes_no_session(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("users", "create", "ann@example.com")
    assert sign_in(database_url, "ann@example.com", PASSWORD) == 200
    monkeypatch.setattr(repository, "utc_now", lambda: utc_now() + timedelta(days=400))
    assert "Deleted: 0" in run("auth", "cleanup")


async def add_expired_record(settings: Settings) -> None:
    async with app_resources(settings) as resources, resources.database.transaction() as session:
        user = await resources.accounts.users.get_by_email("ann@example.com")
        record = IdempotencyRecord(user_id=user.id, key="old", fingerprint=b"", status=201)
        record.headers, record.body = {}, b""
        record.expires_at = utc_now() - timedelta(days=1)
        session.add(record)


def test_cleanup_deletes_expired_idempotency_records(database_url: str) -> None:
    run("users", "create", "ann@example.com")
    asyncio.run(add_expired_record(make_settings(database_url)))
    assert "Deleted: 1" in run("auth", "cleanup")
    assert "Deleted: 0" in run("auth", "cleanup")


def test_cleanup_job_deletes_expired_idempotency_records(database_url: str) -> None:
    run("users", "create", "ann@example.com")
    settings = make_settings(database_url)
    asyncio.run(add_expired_record(settings))

    async def clean_up() -> int | None:
        async with app_resources(settings) as resources:
            await jobs.clean_up(resources)
            async with resources.database.reading() as session:
                return await session.scalar(select(func.count()).select_from(IdempotencyRecord))

    assert asyncio.run(clean_up()) == 0


def test_short_password_is_refused_by_its_characters() -> None:
    result = invoke("users", "create", "ann@example.com", password="too short")
    assert result.exit_code == 1
    assert "password: String should have at least 10 characters" in result.output
