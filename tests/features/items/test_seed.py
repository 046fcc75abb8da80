"""`app items seed`."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from app.cli import cli
from app.core.database.unit_of_work import Database
from app.features.items.models import Item
from tests.conftest import PASSWORD, SECRET_KEY, make_settings


@pytest.fixture(autouse=True)
def environment(
    database_url: str, empty_working_directory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("PASSWORD", PASSWORD)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def stored(database_url: str) -> Sequence[Item]:
    async def read() -> Sequence[Item]:
        database = Database(make_settings(database_url))
        async with database.reading() as session:
            items = (await session.scalars(select(Item).order_by(Item.id))).all()
        await database.dispose()
        return items

    return asyncio.run(read())


def test_seed_creates_the_number_of_items(database_url: str) -> None:
    for name in ("ann", "bob"):
        assert invoke("users", "create", f"{name}@example.com").exit_code == 0
    result = invoke("items", "seed", "--count", "1003")
    assert result.exit_code == 0, result.output
    assert "Created 1,003 rows for ann@example.com.\n" in result.output
    items = stored(database_url)
    assert len({item.name for item in items}) == len(items) == 1003
    assert {item.owner_id for item in items} == {1}  # The first account owns the items.
    assert len({item.price for item in items}) > 900
    assert {item.is_offer for item in items} == {True, False}
    assert {item.description is None for item in items} == {True, False}
    result = invoke("items", "seed", "--count", "1", "--owner", "BOB@example.com")
    assert result.exit_code == 0, result.output
    assert "Created 1 row for bob@example.com.\n" in result.output
    assert stored(database_url)[-1].owner_id == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no account yet. Create one with `app users create`."),
        (["--owner", "bob@example.com"], "User Not Found (email: bob@example.com)"),
    ],
)
def test_error_is_one_line(arguments: list[str], message: str) -> None:
    result = invoke("items", "seed", *arguments)
    assert isinstance(result.exception, SystemExit)
    assert str(result.exception) == message


def test_invalid_count_is_refused() -> None:
    assert invoke("items", "seed", "--count", "0").exit_code == 2
