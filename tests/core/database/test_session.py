"""Tests of sessions, in which prepared queries and SQLAlchemy's statements share a transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import (
    ForeignKey,
    Text,
    bindparam,
    cast,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.events import UserChanged
from app.accounts.models import User
from app.core.database.engine import RolledBack
from app.core.database.events import Events
from app.core.database.models import Base
from app.core.database.queries import Query, columns_of
from app.core.database.session import Session
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from tests.conftest import Person, make_settings, only, running
from tests.core.conftest import until_asleep
from tests.waiting import run_pending_tasks


class Named(BaseModel):
    full_name: str | None


class Keyed(BaseModel):
    email_key: str


class Size(BaseModel):
    size: int


USER = User.email_key == bindparam("key")
NAME = Query(select(User.full_name).where(USER), Named)
KEY = Query(select(User.email_key).where(USER), Keyed)
RENAME = Query(
    update(User)
    .where(USER)
    .values(full_name=bindparam("name"), updated_at=User.updated_at)
    .returning(User.full_name),
    Named,
)
TAKE_ADDRESS = Query(
    update(User)
    .values(email_key=bindparam("key"), updated_at=User.updated_at)
    .returning(User.full_name),
    Named,
)
PID = Query(select(func.pg_backend_pid().label("size")), Size)
SLEEP = Query(select(func.length(cast(func.pg_sleep(bindparam("s")), Text)).label("size")), Size)


@pytest.fixture
async def database(app: FastAPI) -> Database:
    database: Database = app.state.resources.database
    return database


@pytest.fixture
async def one_connection(database_url: str) -> AsyncIterator[Database]:
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app:
        yield app.state.resources.database


async def stored(database: Database, person: Person) -> str | None:
    async with database.reading() as session:
        return await session.scalar(select(User.full_name).where(User.id == person.id))


async def rename(session: Session, person: Person, name: str) -> None:
    assert await session.fetch_one(RENAME, {"key": person.email, "name": name}) == Named(
        full_name=name
    )


async def change_entity(session: Session, person: Person, name: str) -> None:
    (await session.get_one(User, person.id)).full_name = name


STATEMENT_PAIRS = [(rename, change_entity), (change_entity, rename), (rename, rename)]


@pytest.mark.parametrize(("first", "second"), STATEMENT_PAIRS)
async def test_queries_and_entities_share_one_transaction(
    database: Database, ann: Person, first: Any, second: Any
) -> None:
    async with database.transaction() as session:
        await first(session, ann, "one")
        assert await session.fetch_one(NAME, {"key": ann.email}) == Named(full_name="one")
        await second(session, ann, "two")
        assert await session.fetch_one(NAME, {"key": ann.email}) == Named(full_name="two")
        assert await stored(database, ann) is None
    assert await stored(database, ann) == "two"


@pytest.mark.parametrize(("first", "second"), STATEMENT_PAIRS)
async def test_error_rolls_back_queries_and_entities(
    database: Database, ann: Person, first: Any, second: Any
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await first(session, ann, "one")
            await second(session, ann, "two")
            raise ZeroDivisionError
    assert await stored(database, ann) is None


@pytest.mark.parametrize(("first", "second"), STATEMENT_PAIRS)
async def test_rollback_undoes_queries_and_entities(
    database: Database, ann: Person, first: Any, second: Any
) -> None:
    async with database.transaction() as session:
        await first(session, ann, "one")
        await second(session, ann, "two")
        await session.rollback()
    assert await stored(database, ann) is None


@pytest.mark.parametrize(("first", "second"), STATEMENT_PAIRS)
async def test_transaction_begins_anew_after_a_rollback(
    database: Database, ann: Person, first: Any, second: Any
) -> None:
    async with database.transaction() as session:
        await first(session, ann, "one")
        await session.rollback()
        await second(session, ann, "two")
        assert await stored(database, ann) is None  # It is not committed yet.
    assert await stored(database, ann) == "two"


async def test_session_is_usable_after_a_failed_query_and_a_rollback(
    database: Database, ann: Person, bob: Person
) -> None:
    async with database.transaction() as session:
        with pytest.raises(IntegrityError):
            await session.fetch(TAKE_ADDRESS, {"key": "the same for both"})
        await session.rollback()
        await rename(session, ann, "one")
    assert await stored(database, ann) == "one"


async def test_violated_constraint_of_a_query_raises_integrity_error(
    database: Database, ann: Person, bob: Person
) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            await session.fetch(TAKE_ADDRESS, {"key": "the same for both"})
    async with database.transaction() as session:
        await rename(session, ann, "still there")


async def test_transactions_return_their_connections(
    one_connection: Database,
) -> None:
    for _ in range(3):
        async with one_connection.transaction() as session:
            assert await session.fetch(RENAME, {"key": "nobody", "name": "x"}) == []
        async with one_connection.reading() as session:
            assert await session.fetch(NAME, {"key": "nobody"}) == []


@only("postgresql")
@pytest.mark.parametrize("way", ["reading", "transaction"])
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_query_returns_its_connection(
    one_connection: Database, database_url: str, way: str, times: int
) -> None:
    """The connection is returned even if anyio cancels the task at each step of the event loop."""

    async def sleep() -> None:
        async with getattr(one_connection, way)() as session:
            await session.fetch(SLEEP, {"s": 3600})

    task = asyncio.create_task(sleep())
    await until_asleep(database_url)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(3):
        async with getattr(one_connection, way)() as session:
            assert await session.fetch(SLEEP, {"s": 0}) == [Size(size=0)]


@only("postgresql")
async def test_read_is_repeated_after_its_connection_is_cut(
    own_database_url: str, cut: Any
) -> None:
    settings = make_settings(own_database_url)
    async with running(settings) as app, app.state.resources.database.reading() as session:
        task = asyncio.create_task(session.fetch(SLEEP, {"s": 2}))
        await until_asleep(own_database_url)
        await cut()
        assert await task == [Size(size=0)]


@only("postgresql")
async def test_write_is_not_repeated_after_its_connection_is_cut(
    own_database_url: str, cut: Any
) -> None:
    async with running(make_settings(own_database_url)) as app:
        with pytest.raises(Unavailable):
            async with app.state.resources.database.transaction() as session:
                task = asyncio.create_task(session.fetch(SLEEP, {"s": 3600}))
                await until_asleep(own_database_url)
                await cut()
                await task
        async with app.state.resources.database.transaction() as session:
            assert await session.fetch(SLEEP, {"s": 0}) == [Size(size=0)]


@only("postgresql")
async def test_connection_cut_before_the_commit_raises_unavailable(
    own_database_url: str, cut: Any
) -> None:
    async with running(make_settings(own_database_url)) as app:
        block = app.state.resources.database.transaction
        with pytest.raises(Unavailable):
            async with block() as session:
                await session.fetch(SLEEP, {"s": 0})
                await cut()
        async with block() as session:
            assert await session.fetch(SLEEP, {"s": 0}) == [Size(size=0)]


@only("postgresql")
async def test_prepared_query_works_after_a_migration(
    databases: Any, own_database_url: str
) -> None:
    async with running(make_settings(own_database_url)) as app:
        for statement in (
            "ALTER TABLE users ALTER email_key TYPE varchar(320)",
            "ALTER TABLE users ALTER email_key TYPE text",
        ):
            async with app.state.resources.database.reading() as session:
                assert await session.fetch(KEY, {"key": "nobody"}) == []
            await asyncio.to_thread(databases.execute, own_database_url, statement)
        async with app.state.resources.database.reading() as session:
            assert await session.fetch(KEY, {"key": "nobody"}) == []


async def test_connections_are_given_in_the_order_of_requests(one_connection: Database) -> None:
    """A new request does not overtake a waiting one that was woken and has not run yet."""
    order: list[str] = []

    async def take(name: str) -> None:
        async with one_connection.reading() as session:
            await session.execute(text("SELECT 1"))
            order.append(name)

    async with one_connection.reading() as session:
        await session.execute(text("SELECT 1"))
        waiting = asyncio.create_task(take("the waiting one"))
        await run_pending_tasks()
    newcomer = take("the newcomer")  # It runs at once, in this step of the event loop.
    await asyncio.gather(newcomer, waiting)
    assert order == ["the waiting one", "the newcomer"]


async def test_cancelled_waiter_returns_its_connection(one_connection: Database) -> None:
    async def take() -> None:
        async with one_connection.reading() as session:
            await session.execute(text("SELECT 1"))

    async with one_connection.reading() as session:
        await session.execute(text("SELECT 1"))
        gone, stays = asyncio.create_task(take()), asyncio.create_task(take())
        await run_pending_tasks()
    gone.cancel()  # It has just been given the connection.
    await asyncio.gather(gone, return_exceptions=True)
    await stays
    await take()


def test_query_with_python_default_is_refused(database: Database) -> None:
    values: dict[str, Any] = {
        "email": bindparam("e"),
        "email_key": bindparam("k"),
        "password_hash": bindparam("p"),
    }
    query = Query(insert(User).values(values).returning(User.full_name), Named)
    with pytest.raises(TypeError, match="defaults"):
        query.compiled(database.engine.dialect)


def test_query_with_variable_text_is_refused(database: Database) -> None:
    query = Query(select(User.full_name).where(User.id.in_([1, 2])), Named)
    with pytest.raises(TypeError, match="list of bindparams"):
        query.compiled(database.engine.dialect)


async def test_events_of_a_rollback_are_not_published(
    app: FastAPI, database: Database, ann: Person
) -> None:
    published = list[str]()
    event = UserChanged(user_id=ann.id)
    with app.state.resources.broadcast.subscribed(event.topic, published.append):
        async with database.transaction() as session:
            Events(session).record(event)
            await session.rollback()
            await rename(session, ann, "one")
    assert published == []


async def test_reading_session_that_holds_changes_gives_its_connection_back(
    one_connection: Database, ann: Person
) -> None:
    with pytest.raises(TypeError, match="only reads"):
        async with one_connection.reading() as session:
            (await session.get_one(User, ann.id)).full_name = "Ann"
    async with one_connection.reading() as other:
        assert await other.scalar(select(User.full_name)) is None


WITH_WRITE = (
    update(User)
    .values(full_name="x", updated_at=User.updated_at)
    .returning(User.full_name)
    .cte("changed")
)


@only("postgresql")
async def test_query_with_a_write_inside_is_refused_by_a_reading_session(
    database: Database, ann: Person
) -> None:
    query = Query(select(WITH_WRITE.c.full_name), Named)
    async with database.reading() as session:
        with pytest.raises(TypeError, match="only reads"):
            await session.fetch(query, {})


@pytest.mark.parametrize("way", [rename, change_entity])
async def test_commit_inside_unit_of_work_is_error(
    database: Database, ann: Person, way: Any
) -> None:
    """Only the unit of work commits, since what follows an earlier commit could fail."""
    with pytest.raises(TypeError, match="Leave the commit"):
        async with database.transaction() as session:
            await way(session, ann, "one")
            await session.commit()
    with pytest.raises(TypeError, match="Leave the commit"):
        async with database.transaction() as session, session.begin():
            pass
    assert await stored(database, ann) is None


async def test_query_sees_unflushed_entities(database: Database, ann: Person) -> None:
    async with database.transaction() as session:
        user = await session.get_one(User, ann.id)
        user.full_name = "one"
        assert await session.fetch_one(NAME, {"key": ann.email}) == Named(full_name="one")


async def test_entity_is_expired_after_query_that_changes_its_table(
    database: Database, ann: Person
) -> None:
    async with database.transaction() as session:
        user = await session.get_one(User, ann.id)
        await rename(session, ann, "one")
        await session.refresh(user)
        assert user.full_name == "one"
        assert await session.fetch_one(NAME, {"key": ann.email})  # A SELECT expires no entity.
        assert user.full_name == "one"
        await rename(session, ann, "two")
        assert "full_name" in inspect(user).expired_attributes


@pytest.mark.parametrize("before", [rename, change_entity])
@pytest.mark.parametrize("inside", [rename, change_entity])
async def test_rollback_to_savepoint_undoes_its_statements(
    database: Database, ann: Person, before: Any, inside: Any
) -> None:
    async with database.transaction() as session:
        await before(session, ann, "before")
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                await inside(session, ann, "inside")
                raise ZeroDivisionError
        assert await session.fetch_one(NAME, {"key": ann.email}) == Named(full_name="before")
    assert await stored(database, ann) == "before"


@pytest.mark.parametrize("inside", [rename, change_entity])
async def test_released_savepoint_is_committed_with_the_unit(
    database: Database, ann: Person, inside: Any
) -> None:
    async with database.transaction() as session:
        async with session.begin_nested():
            await inside(session, ann, "inside")
        assert await stored(database, ann) is None
    assert await stored(database, ann) == "inside"


async def test_failed_query_in_savepoint_leaves_the_unit_usable(
    database: Database, ann: Person, bob: Person
) -> None:
    async with database.transaction() as session:
        await rename(session, ann, "before")
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.fetch(TAKE_ADDRESS, {"key": "the same for both"})
        await rename(session, ann, "after")
    assert await stored(database, ann) == "after"


@only("postgresql")
@pytest.mark.parametrize("with_entities", [False, True])
async def test_commit_after_swallowed_error_is_error(
    database: Database, ann: Person, bob: Person, with_entities: bool
) -> None:
    """PostgreSQL responds to such a COMMIT with ROLLBACK instead of an error."""
    with pytest.raises(RolledBack):
        async with database.transaction() as session:
            if with_entities:
                await session.get_one(User, ann.id)
            await rename(session, ann, "one")
            with suppress(IntegrityError):
                await session.fetch(TAKE_ADDRESS, {"key": "the same for both"})
    assert await stored(database, ann) is None


@only("postgresql")
async def test_open_transaction_is_not_returned_to_the_pool(one_connection: Database) -> None:
    connection = await one_connection.engine.raw_connection()
    await connection.driver_connection.execute("BEGIN")  # type: ignore[union-attr]
    connection.close()
    async with one_connection.reading() as session:
        assert await session.fetch(NAME, {"key": "nobody"}) == []


@pytest.fixture
async def two_connections(database_url: str) -> AsyncIterator[Database]:
    async with running(make_settings(database_url, database_pool_size=2)) as app:
        yield app.state.resources.database


async def two_pids(database: Database) -> set[int]:
    """Return the server processes of two connections that are in use at once."""
    async with database.reading() as session, database.reading() as other:
        await session.connection()
        row = await other.fetch_one(PID, {})
        assert row
        return {row.size, *await session.scalars(select(func.pg_backend_pid()))}


async def sleeping_query(database: Database) -> None:
    async with database.reading() as session:
        await session.fetch(SLEEP, {"s": 0.1})


@only("postgresql")
async def test_queries_and_statements_share_connections(
    two_connections: Database,
) -> None:
    pids = await two_pids(two_connections)
    for _ in range(3):
        assert await two_pids(two_connections) == pids


@only("postgresql")
async def test_failed_write_to_a_standby_replaces_every_connection(
    two_connections: Database,
) -> None:
    before = await two_pids(two_connections)
    await asyncio.gather(*(sleeping_query(two_connections) for _ in range(2)))
    with pytest.raises(Unavailable):
        async with two_connections.transaction() as session:
            await session.execute(text("SET TRANSACTION READ ONLY"))
            await session.execute(update(User).values(full_name="x"))
    assert not before & await two_pids(two_connections)


@only("postgresql")
async def test_connection_left_in_a_transaction_is_closed(
    one_connection: Database,
) -> None:
    pool: Any = one_connection.reader.pool
    async with one_connection.reading() as session:
        await session.connection()
    await pool.admit()
    connection = pool.connect()
    driver = connection.driver_connection
    await driver.execute("BEGIN")
    pool.put_back(connection)
    async with one_connection.reading() as session:
        assert await session.fetch(PID, {})
    assert driver.is_closed()


@only("postgresql")
async def test_disposed_engine_holds_no_connection(one_connection: Database) -> None:
    pool: Any = one_connection.reader.pool
    async with one_connection.reading() as session:
        await session.fetch(PID, {})
    await pool.admit()
    connection = pool.connect()
    driver = connection.driver_connection
    pool.put_back(connection)
    await one_connection.reader.dispose()
    assert driver.is_closed()


@only("postgresql")
async def test_plain_sqlalchemy_session_commits_and_rolls_back(
    database: Database, ann: Person
) -> None:
    """An engine without a unit of work behaves as SQLAlchemy documents."""
    async with AsyncSession(database.engine) as session:
        (await session.get_one(User, ann.id)).full_name = "one"
        await session.commit()
        (await session.get_one(User, ann.id)).full_name = "two"
        await session.flush()
        await session.rollback()
    assert await stored(database, ann) == "one"


def test_relationship_in_query_is_refused() -> None:
    class Parent(Base):
        __tablename__ = "test_parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list["Child"]] = relationship(lazy="raise")

    class Child(Base):
        __tablename__ = "test_children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("test_parents.id"))

    class ParentRead(BaseModel):
        id: int
        children: list[Any]

    try:
        with pytest.raises(TypeError, match=r"Parent\.children is a relationship"):
            columns_of(Parent, ParentRead)
        with pytest.raises(TypeError, match="no fields for the columns"):
            Query(select(Parent.id, Parent.children), ParentRead)  # type: ignore[arg-type]
    finally:
        for model in (Child, Parent):
            Base.metadata.remove(model.__table__)  # type: ignore[arg-type]
            Base.registry._dispose_cls(model)
