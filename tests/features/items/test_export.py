"""Exports of the list. With `pages_of_two` an export reads two rows at a time."""

import asyncio
import csv
import io
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url
from starlette.types import Message

from app.core.security.principal import Principal
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemCreate
from tests.conftest import (
    POSTGRES_URL,
    Person,
    client_of,
    counted_statements,
    make_person,
    make_settings,
    only,
    running,
    sign_in,
)
from tests.databases import Databases
from tests.features.items.steps import LAMP, SORTS, make_item, read_pages
from tests.server import serving, sign_up
from tests.slices import needs

URL = "/api/v1/items/export"
ITEMS = "/api/v1/items"
FIELDS = ["id", "name", "description", "price", "is_offer", "owner_id"]
FIELDS += ["created_at", "updated_at", "version"]


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.accounts.listing.EXPORT_PAGE_SIZE", 2)


async def lines_of(person: Person, **params: Any) -> list[dict[str, Any]]:
    response = await person.client.get(URL, params={"format": "ndjson", **params})
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert not response.text or response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


async def cells_of(person: Person, **params: Any) -> list[list[str]]:
    response = await person.client.get(URL, params={"format": "csv", **params})
    assert response.status_code == 200, response.text
    text = response.content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


async def add(app: FastAPI, person: Person, count: int, **values: Any) -> None:
    item = ItemCreate.model_validate(LAMP | values)
    principal = Principal(person.id, UUID(int=0), frozenset(), is_superuser=False)
    async with app.state.resources.database.transaction() as session:
        await ItemRepository(session, principal).create_many([item.model_dump()] * count)


async def test_csv_is_exact(ann: Person) -> None:
    one = await make_item(ann, name='A "good", old lamp', description="two\r\nlines")
    two = await make_item(ann, description=None, is_offer=False, price="0.10")
    response = await ann.client.get(URL)  # CSV is the default.
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
    ends = [f"{ann.id},{item['created_at']},{item['updated_at']},1\r\n" for item in (one, two)]
    assert response.content.decode() == (
        f"\ufeff{','.join(FIELDS)}\r\n"
        f'{one["id"]},"A ""good"", old lamp","two\r\nlines",19.99,true,{ends[0]}'
        f"{two['id']},Lamp,,0.10,false,{ends[1]}"
    )


async def test_ndjson_line_equals_the_response_of_the_api(ann: Person) -> None:
    items = [await make_item(ann), await make_item(ann, description=None, name="two\nlines\u2028")]
    response = await ann.client.get(URL, params={"format": "ndjson"})
    assert response.headers["Content-Disposition"] == 'attachment; filename="items.ndjson"'
    assert [json.loads(line) for line in response.text.split("\n")[:-1]] == items


async def test_export_without_items_is_empty(ann: Person) -> None:
    assert await lines_of(ann) == []
    assert await cells_of(ann) == [FIELDS]


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("sort", [*SORTS, *(f"-{name}" for name in SORTS)])
async def test_export_has_the_order_of_the_list(ann: Person, sort: str) -> None:
    """Many items share a value, so that the tie-break matters."""
    for n in range(5):
        await make_item(ann, name=f"n{n % 3}", price=f"{n % 2}.10")
    ((*listed,),) = await read_pages(ann, sort=sort, limit=100)
    assert await lines_of(ann, sort=sort) == listed
    _, *lines = await cells_of(ann, sort=sort)
    assert [line[0] for line in lines] == [str(item["id"]) for item in listed]


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_export_is_complete_for_every_last_page(
    app: FastAPI, ann: Person, count: int
) -> None:
    await add(app, ann, count)
    assert len({item["id"] for item in await lines_of(ann)}) == count
    assert len(await cells_of(ann)) == 1 + count


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize(
    ("params", "prices"),
    [
        ({"min_price": "2"}, ["2.00", "10.00", "11.00", "12.00"]),
        ({"max_price": "2.00"}, ["0.10", "2.00"]),
        ({"is_offer": "true"}, ["2.00"]),
        ({"q": "LAMP", "is_offer": "false", "sort": "-price"}, ["12.00", "11.00", "10.00", "0.10"]),
        ({"q": "nothing"}, []),
    ],
)
async def test_filters_limit_the_export(
    ann: Person, params: dict[str, Any], prices: list[str]
) -> None:
    for price in ("0.10", "2", "10", "11", "12"):
        await make_item(ann, price=price, is_offer=price == "2")
    assert [item["price"] for item in await lines_of(ann, **params)] == prices


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t1",
        "\r",
        " =1",
        "\u200b\u2060=1",
        "\ufeff@1",
        "\u3000\xa0-1",
        "\uff1d1+1",
        '=HYPERLINK("x","y")',
        "-",
    ],
)
async def test_formula_is_escaped_in_csv(ann: Person, name: str) -> None:
    await make_item(ann, name=name, description=name)
    (_, cells) = await cells_of(ann)
    assert cells[1] == cells[2] == f"'{name}"
    (item,) = await lines_of(ann)
    assert item["name"] == item["description"] == name


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("\n=1", "\n'=1"),
        ("\r=1", "'\r'=1"),
        ("\t=1", "'\t'=1"),
        ("a;=1;b", "a;'=1;b"),
        ("a; \u200b=1", "a;' \u200b=1"),
        ("a\t+1", "a\t'+1"),
        ("a|-1|@b", "a|'-1|'@b"),
        ("a\n\n\uff1d1", "a\n\n'\uff1d1"),
        ("a\u2028@b", "a\u2028'@b"),
        ("a;\tb", "a;'\tb"),
    ],
)
async def test_formula_inside_of_a_cell_is_escaped_in_csv(
    ann: Person, name: str, cell: str
) -> None:
    """A spreadsheet that is set to another separator sees it as a cell of its own."""
    await make_item(ann, name=name, description=name)
    (_, cells) = await cells_of(ann)
    assert cells[1] == cells[2] == cell


@needs("pages.py")
async def test_formula_is_escaped_in_the_csv_of_the_page(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await make_item(ann, name="a;=1;b")
    await sign_in(browser, ann)
    text = (await browser.get("/items/export?format=csv")).content.decode("utf-8-sig")
    (_, row) = csv.reader(io.StringIO(text, newline=""))
    assert row[1] == "a;'=1;b"


@pytest.mark.parametrize(
    "name",
    ["a=1", " 1", "a, -1", "a; b", "a\n\nb", "'", "🦉 Ünï", "שלום", "a,b;c\td", '"', "\\", "1-1"],
)
async def test_ordinary_text_is_not_escaped_in_csv(ann: Person, name: str) -> None:
    await make_item(ann, name=name, description="")
    (_, cells) = await cells_of(ann)
    assert cells[1:3] == [name, ""]


@pytest.mark.parametrize(
    ("params", "loc"),
    [({"format": value}, "format") for value in ("xml", "", "CSV", "csv,ndjson")]
    + [({name: "1"}, name) for name in ("limit", "cursor", "with_total", "colour")]
    + [({"sort": "owner_id"}, "sort"), ({"owner_id": "0"}, "owner_id")],
)
async def test_invalid_parameter_returns_422(
    root: Person, params: dict[str, str], loc: str
) -> None:
    response = await root.client.get(URL, params=params)
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["loc"] == ["query", loc]


async def test_export_has_visible_items_only(
    ann: Person, bob: Person, root: Person, client: httpx.AsyncClient
) -> None:
    mine, theirs = await make_item(ann), await make_item(bob)
    assert await lines_of(ann) == await lines_of(ann, owner_id=ann.id) == [mine]
    assert await lines_of(root) == [mine, theirs]
    assert await lines_of(root, owner_id=bob.id) == [theirs]
    assert (await ann.client.get(URL, params={"owner_id": bob.id})).status_code == 403
    assert (await client.get(URL)).status_code == 401


async def test_post_returns_405(ann: Person) -> None:
    response = await ann.client.post(URL)
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]


async def test_export_is_compressed(app: FastAPI, ann: Person) -> None:
    await add(app, ann, 250)
    response = await ann.client.get(URL, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    plain = await ann.client.get(URL, headers={"Accept-Encoding": "identity"})
    assert response.text == plain.text
    assert len(plain.text.splitlines()) == 251


@pytest.mark.usefixtures("pages_of_two")
async def test_head_reads_one_page(app: FastAPI, ann: Person) -> None:
    await add(app, ann, 9)
    get = await ann.client.get(URL, headers={"Accept-Encoding": "identity"})
    async with counted_statements(app) as statements:
        head = await ann.client.head(URL)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Disposition"):
        assert head.headers[name] == get.headers[name]
    assert len([each for each in statements if "FROM items" in each]) == 1


async def call(app: FastAPI, token: str, on_chunk: Callable[[], Any], gone: asyncio.Event) -> None:
    """Call the application as a server does.

    `on_chunk` is awaited for each chunk of the body. The client disconnects when `gone` is set.
    """

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            await on_chunk()

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": URL,
        "raw_path": URL.encode(),
        "query_string": b"format=ndjson",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 123),
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)


@pytest.mark.usefixtures("pages_of_two")
async def test_export_ends_when_the_client_disconnects(app: FastAPI, ann: Person) -> None:
    await add(app, ann, 50)
    gone = asyncio.Event()

    async def leave() -> None:
        gone.set()

    async with counted_statements(app) as statements:
        await call(app, ann.token, leave, gone)
    assert len([each for each in statements if "FROM items" in each]) <= 2
    assert len(await lines_of(ann)) == 50


@pytest.fixture
async def app_with_one_connection(database_url: str) -> AsyncIterator[FastAPI]:
    async with running(make_settings(database_url, database_pool_size=1)) as app:
        yield app


@pytest.mark.usefixtures("pages_of_two")
async def test_slow_client_holds_no_connection(
    app_with_one_connection: FastAPI, password_hash: str
) -> None:
    app = app_with_one_connection
    ann = await make_person(app, password_hash, "ann")
    await add(app, ann, 5)
    paused, resumed = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        paused.set()
        await resumed.wait()

    export = asyncio.create_task(call(app, ann.token, pause, asyncio.Event()))
    await paused.wait()
    async with client_of(app, ann.token) as client:
        assert (await client.get(ITEMS)).status_code == 200
        assert (await client.post(ITEMS, json=LAMP)).status_code == 201
    resumed.set()
    await export
    await ann.client.aclose()


# More data than the network buffers hold for a client that does not read, in three pages.
LARGE_ITEMS = f"""
    INSERT INTO items (name, description, price, is_offer, owner_id, version,
        created_at, updated_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)
    SELECT 'Lamp', '{"x" * 10_000}', 1, false, users.id, 1, '2026-11-22', '2026-11-22'
    FROM numbers, users
"""


@contextmanager
def half_an_export(databases: Databases, database_url: str) -> Iterator[httpx.Response]:
    """Start an export of a real server, which waits for the client to read.

    At the end of the block, expect that the rest fails with a broken connection, and that another
    export fails with a problem document, since it fails at the first page.
    """
    with serving(database_url) as client:
        sign_up(client)
        databases.execute(database_url, LARGE_ITEMS)
        with client.stream("GET", URL, headers={"Accept-Encoding": "identity"}) as response:
            chunks = response.iter_raw()
            assert next(chunks)
            yield response
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                deque(chunks, maxlen=0)
        assert client.get("/health/live").status_code == 200
        second = client.get(URL)
    assert second.status_code in (500, 503)
    assert second.headers["Content-Type"] == "application/problem+json"
    assert "Content-Disposition" not in second.headers


def test_error_after_the_first_page_breaks_the_connection(
    databases: Databases, own_database_url: str
) -> None:
    with half_an_export(databases, own_database_url) as response:
        assert response.status_code == 200
        databases.execute(own_database_url, "ALTER TABLE items RENAME TO gone")


@only("postgresql")
def test_lost_database_after_the_first_page_breaks_the_connection(
    databases: Databases, own_database_url: str
) -> None:
    name = make_url(own_database_url).database
    with half_an_export(databases, own_database_url):
        databases.execute(
            POSTGRES_URL or "",
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
