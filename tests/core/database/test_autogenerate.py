"""Tests that migrations generated on one database run on both, and cover the models."""

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from alembic.util import CommandError

from app.core.database.autogenerate import drop_children_first
from app.core.database.models import Base, Id, Money, UtcDateTime
from app.core.database.unit_of_work import Database
from tests.conftest import POSTGRES_URL, make_settings
from tests.databases import Databases, Postgres, Sqlite, alembic

NO_CHANGES = "No new upgrade operations detected"
VALUES = {
    "is_off": False,
    "is_on": True,
    "price": Decimal("0.00"),
    "number": 7,
    "version": 1,
    "name": "it's",
    "note": "",
    "status": "draft",
    "options": {},
}


def columns() -> list[sa.Column[Any]]:
    """Return a column of each type that models use, with a default where a type can have one."""
    status = sa.Enum(
        "draft", "placed", name="status", native_enum=False, create_constraint=True, length=20
    )
    return [
        sa.Column("is_off", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("is_on", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("price", Money, server_default="0", nullable=False),
        sa.Column("made_at", UtcDateTime, server_default=sa.func.now(), nullable=False),
        sa.Column("number", sa.Integer, server_default="7", nullable=False),
        sa.Column("version", sa.BigInteger, server_default=sa.text("1"), nullable=False),
        sa.Column("name", sa.String(50), server_default="it's", nullable=False),
        sa.Column("note", sa.Text, server_default="", nullable=False),
        sa.Column("status", status, server_default="draft", nullable=False),
        sa.Column("options", sa.JSON, server_default="{}", nullable=False),
        sa.Column("user_id", Id, sa.ForeignKey("users.id"), index=True),
        sa.Column("key", sa.Uuid),
        sa.Column("digest", sa.LargeBinary),
    ]


@pytest.fixture
def define() -> Iterator[Any]:
    """Define a table `examples` in place of the one before, or none at all."""

    def define_table(*parts: Any) -> None:
        forget()
        if parts:
            sa.Table("examples", Base.metadata, sa.Column("id", Id, primary_key=True), *parts)

    def forget() -> None:
        if "examples" in Base.metadata.tables:
            Base.metadata.remove(Base.metadata.tables["examples"])

    yield define_table
    forget()


@pytest.fixture
def empty_urls(tmp_path: Path) -> Iterator[list[str]]:
    """Return an empty database of each kind."""
    backends: list[Databases] = [Sqlite(tmp_path)]
    if POSTGRES_URL:
        backends.append(Postgres(POSTGRES_URL))
    urls = [each.create() for each in backends]
    yield urls
    for each, url in zip(backends, urls, strict=True):
        each.drop(url)


def generate(url: str, migrations: Path, name: str) -> str:
    """Write a migration from the models, run it, and return its source."""
    before = {*(migrations / "alembic/versions").glob("*.py")}
    alembic(url, "revision", "--autogenerate", "-m", name, folder=migrations)
    (script,) = {*(migrations / "alembic/versions").glob("*.py")} - before
    alembic(url, "upgrade", "head", folder=migrations)
    return script.read_text()


def run(url: str, work: Any) -> Any:
    async def connect() -> Any:
        database = Database(make_settings(url))
        async with database.engine.begin() as connection:
            result = await connection.run_sync(work)
        await database.dispose()
        return result

    return asyncio.run(connect())


def add_row(connection: sa.Connection) -> None:
    connection.execute(sa.insert(Base.metadata.tables["examples"]).values(id=1))


def read_row(connection: sa.Connection) -> dict[str, Any]:
    return dict(connection.execute(sa.select(Base.metadata.tables["examples"])).mappings().one())


def describe(connection: sa.Connection) -> tuple[Any, ...]:
    inspector = sa.inspect(connection)
    return (
        [(each["name"], str(each["type"])) for each in inspector.get_columns("examples")],
        sorted(inspector.get_check_constraints("examples"), key=str),
        sorted(inspector.get_foreign_keys("examples"), key=str),
    )


@pytest.fixture
def chain() -> Iterator[list[sa.Table]]:
    """Define tables, each of which refers to the next one, and the first to itself."""
    names = ["c", "a", "d", "b", "e"]
    tables = []
    for name, parent in zip(names, [*names[1:], "users"], strict=True):
        key = sa.Column("parent_id", Id, sa.ForeignKey(f"{parent}.id"), index=True)
        tables.append(sa.Table(name, Base.metadata, sa.Column("id", Id, primary_key=True), key))
    tables[0].append_column(sa.Column("own_id", Id, sa.ForeignKey("c.id")))
    yield tables
    for table in tables:
        if table.name in Base.metadata.tables:
            Base.metadata.remove(table)


def test_tables_are_dropped_before_those_that_they_refer_to(
    chain: list[sa.Table], migrations: Path, own_database_url: str, empty_urls: list[str]
) -> None:
    generate(own_database_url, migrations, "chain")
    for table in chain:
        Base.metadata.remove(table)
    source = generate(own_database_url, migrations, "no chain")
    assert re.findall(r'op\.drop_table\("(.)"\)', source) == [table.name for table in chain]
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        alembic(url, "downgrade", "-1", folder=migrations)
        alembic(url, "upgrade", "head", folder=migrations)
        assert NO_CHANGES in alembic(url, "check", folder=migrations)


def test_dropped_tables_that_refer_to_each_other_are_refused() -> None:
    metadata = sa.MetaData()
    tables = [
        sa.Table(name, metadata, sa.Column("id", Id, sa.ForeignKey(f"{other}.id")))
        for name, other in (("hen", "egg"), ("egg", "hen"))
    ]
    upgrade = ops.UpgradeOps([ops.DropTableOp.from_table(table) for table in tables])
    script = ops.MigrationScript(None, upgrade, upgrade.reverse())
    with pytest.raises(CommandError, match="egg, hen refer to each other"):
        drop_children_first(script)


def test_generated_table_runs_on_both_databases_up_and_down(
    define: Any, migrations: Path, own_database_url: str, empty_urls: list[str]
) -> None:
    define(*columns(), sa.CheckConstraint("number > 0", "number_positive"))
    generate(own_database_url, migrations, "examples")
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        alembic(url, "downgrade", "-1", folder=migrations)
        alembic(url, "upgrade", "head", folder=migrations)
        run(url, add_row)
        assert run(url, read_row).items() >= VALUES.items()
        assert NO_CHANGES in alembic(url, "check", folder=migrations)


def test_generated_columns_are_added_to_rows_on_both_databases(
    define: Any, migrations: Path, own_database_url: str, empty_urls: list[str]
) -> None:
    define()
    define(sa.Column("first", sa.Integer))
    generate(own_database_url, migrations, "examples")
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        run(url, add_row)
    define(
        sa.Column("first", sa.Integer),
        *columns(),
        sa.CheckConstraint("number > 0", "number_positive"),
    )
    generate(own_database_url, migrations, "columns")
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        alembic(url, "downgrade", "-1", folder=migrations)
        alembic(url, "upgrade", "head", folder=migrations)
        assert run(url, read_row).items() >= VALUES.items()
        assert NO_CHANGES in alembic(url, "check", folder=migrations)


def test_dropped_table_is_recreated_exactly_or_refused(
    define: Any, migrations: Path, own_database_url: str, empty_urls: list[str]
) -> None:
    """SQLite has the same type for prices and for 64-bit numbers."""
    define(*columns(), sa.CheckConstraint("number > 0", "number_positive"))
    generate(own_database_url, migrations, "examples")
    before = dict[str, Any]()
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        before[url] = run(url, describe)
    define()
    generate(own_database_url, migrations, "no examples")
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        if "sqlite" in own_database_url:
            with pytest.raises(NotImplementedError, match="cannot be undone"):
                alembic(url, "downgrade", "-1", folder=migrations)
        else:
            alembic(url, "downgrade", "-1", folder=migrations)
            assert run(url, describe) == before[url]


def test_dropped_columns_without_64_bit_numbers_are_recreated(
    define: Any, migrations: Path, own_database_url: str, empty_urls: list[str]
) -> None:
    kept = [each for each in columns() if each.name not in ("price", "version")]
    define(*kept)
    generate(own_database_url, migrations, "examples")
    before = dict[str, Any]()
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        before[url] = run(url, describe)
    define()
    generate(own_database_url, migrations, "no examples")
    for url in empty_urls:
        alembic(url, "upgrade", "head", folder=migrations)
        alembic(url, "downgrade", "-1", folder=migrations)
        assert run(url, describe) == before[url]


@pytest.mark.parametrize(
    ("type_", "default", "reason"),
    [
        (sa.Boolean(), "1", "a Boolean's is true() or false()"),
        (Money, "1.50", "a price's can be 0 only"),
        (sa.Text(), sa.func.now().cast(sa.Text), "with SQL that both take"),
        (sa.Enum("a", name="letter"), "a", "native_enum=False"),
    ],
)
def test_type_or_default_of_one_database_is_refused_by_name(
    define: Any,
    migrations: Path,
    own_database_url: str,
    capsys: pytest.CaptureFixture[str],
    type_: Any,
    default: Any,
    reason: str,
) -> None:
    define(sa.Column("x", type_, server_default=default))
    with pytest.raises(SystemExit):
        generate(own_database_url, migrations, "examples")
    assert reason in capsys.readouterr().out


def test_added_and_changed_check_constraints_are_found(
    define: Any, migrations: Path, own_database_url: str
) -> None:
    define(sa.Column("number", sa.Integer))
    generate(own_database_url, migrations, "examples")
    for number, check in enumerate(("number > 0", "number BETWEEN 1 AND 9")):
        define(sa.Column("number", sa.Integer), sa.CheckConstraint(check, "number_in_range"))
        with pytest.raises(SystemExit):
            alembic(own_database_url, "check", folder=migrations)
        generate(own_database_url, migrations, f"check {number}")
        assert NO_CHANGES in alembic(own_database_url, "check", folder=migrations)


def test_migrations_of_one_name_are_two_files(migrations: Path, own_database_url: str) -> None:
    before = [*(migrations / "alembic/versions").glob("*.py")]
    for _ in range(2):
        generate(own_database_url, migrations, "the same")
    assert len([*(migrations / "alembic/versions").glob("*.py")]) == len(before) + 2


def test_migration_with_quotes_in_its_name_is_python(
    migrations: Path, own_database_url: str
) -> None:
    source = generate(own_database_url, migrations, 'add "color" or \\N')
    assert compile(source, "migration", "exec")
