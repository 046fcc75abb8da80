import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import func, select

from app.accounts.models import User
from app.core.config import Settings
from app.main import create_app
from tests.conftest import PASSWORD, client_of, make_person, make_settings, running


def settings_with_superuser(database_url: str, password: str = PASSWORD) -> Settings:
    return make_settings(
        database_url,
        first_superuser_email="Root@example.com",
        first_superuser_password=password,
    )


async def sign_in(settings: Settings, password: str) -> int:
    form = {"grant_type": "password", "username": "root@example.com", "password": password}
    async with running(settings) as app, client_of(app) as client:
        return (await client.post("/api/v1/auth/token", data=form)).status_code


async def test_first_superuser_is_created_once_and_never_changed(database_url: str) -> None:
    assert await sign_in(settings_with_superuser(database_url), PASSWORD) == 200
    changed = settings_with_superuser(database_url, "another password")
    assert await sign_in(changed, "another password") == 400
    assert await sign_in(changed, PASSWORD) == 200


async def test_superuser_is_not_created_while_there_is_another(
    database_url: str, password_hash: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one was renamed or deleted: its password must not come back to life."""
    async with running(make_settings(database_url)) as app:
        await make_person(app, password_hash, "another", is_superuser=True)
    assert await sign_in(settings_with_superuser(database_url), PASSWORD) == 400
    assert "was created" not in caplog.text


async def test_creation_of_the_superuser_is_logged(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await sign_in(settings_with_superuser(database_url), PASSWORD) == 200
    (record,) = [each for each in caplog.records if "was created" in each.getMessage()]
    assert (record.levelname, record.name) == ("WARNING", "app")


async def test_concurrent_workers_create_one_superuser(database_url: str) -> None:
    settings = settings_with_superuser(database_url)

    async with AsyncExitStack() as workers:
        apps = [await asyncio.to_thread(create_app, settings) for _ in range(4)]
        lifespans = [app.router.lifespan_context(app) for app in apps]
        await asyncio.gather(*(workers.enter_async_context(each) for each in lifespans))
    async with running(settings) as app, app.state.resources.database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(User)) == 1
        assert await session.scalar(select(User.is_superuser))


async def test_application_starts_with_a_schema_that_is_behind(
    empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_with_superuser(empty_database_url)
    async with running(settings) as app, client_of(app) as client:
        assert (await client.get("/health/live")).status_code == 200
        response = await client.get("/health/ready")
    assert response.status_code == 503
    assert "run `app db upgrade`" in response.json()["detail"]
    assert "superuser could not be created" in caplog.text
