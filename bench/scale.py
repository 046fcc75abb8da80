"""How much slower a list or a search is when its owner has a hundred times as many items."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace

import httpx
from rich.console import Console

from app.core.pagination import Cursors, Sort
from app.core.security import derive_key
from bench.contenders import PROJECT, Server, serving
from bench.database import SECRET_KEY, Database, Person, made
from bench.errors import BenchError
from bench.report import Table
from bench.workloads import API

WARM_UPS = 3
MOST_REQUESTS = 100
MOST_SECONDS = 2.0
SORTS = ("id", "name", "price", "created_at", "updated_at")
# Each filter by the sort that an index can serve with it, and the rows it lets through in SQL.
FILTERS = (
    ("min_price=500", "price", "price >= 500"),
    ("max_price=500", "-price", "price <= 500"),
    ("min_price=400&max_price=600", "price", "price BETWEEN 400 AND 600"),
    ("is_offer=true", "id", "is_offer"),
    ("is_offer=true", "-id", "is_offer"),
)
SEARCHES = (
    ("q=5d41402abc4b2a76b9719d911017c592", "no item"),
    ("q=7777th", "few items"),
    ("q=99th", "one in a hundred"),
    ("q=brass", "every item"),
)


@dataclass(frozen=True)
class Case:
    title: str
    person: Person
    query: str
    sort: str = "id"
    rows: str = "true"
    middle: bool = False


def run(server_url: str, small: int, large: int, console: Console) -> Table:
    with made(server_url) as database:
        (owner,), (superuser,) = database.add_people(1), database.add_people(1, is_superuser=True)
        cases = [*_cases(owner, superuser)]
        found = []
        for first, last in ((1, small), (small + 1, large)):
            with console.status(f"{last:,} items: filling the database"):
                database.add_items([owner], first, last)
            with (
                console.status(f"{last:,} items: measuring"),
                serving(PROJECT, database.url) as server,
            ):
                found.append([_p50_ms(server, database, case) for case in cases])
    rows = [
        [case.title, f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"]
        for case, few, many in zip(cases, *found, strict=True)
    ]
    head = ("GET /items?limit=20&", f"p50 ms of {small:,}", f"of {large:,}", "ratio")
    return Table("Lists and searches, one request at a time", head, rows)


def _cases(owner: Person, superuser: Person) -> Iterator[Case]:
    for name in SORTS:
        for sort in (name, f"-{name}"):
            yield Case(f"sort={sort}", owner, "", sort)
            yield Case(f"sort={sort}, a page in the middle", owner, "", sort, middle=True)
    filters = [(*each, owner) for each in FILTERS]
    filters.append((f"owner_id={owner.id}", "id", "true", superuser))
    for query, sort, rows, person in filters:
        title = f"{query}&sort={sort}"
        yield Case(title, person, query, sort, rows)
        yield Case(f"{title}, a page in the middle", person, query, sort, rows, middle=True)
    for query, matched in SEARCHES:
        yield Case(f"{query} ({matched})", owner, query)


def _p50_ms(server: Server, database: Database, case: Case) -> float:
    query = f"{case.query}&sort={case.sort}".lstrip("&")
    if case.middle:
        query += f"&cursor={_cursor_in_the_middle(database, case)}"
    headers = {"Authorization": f"Bearer {case.person.token}"}
    seconds: list[float] = []
    with httpx.Client(base_url=server.url, headers=headers, timeout=120) as client:
        for _ in range(WARM_UPS):
            response = client.get(f"{API}?{query}")
            if not response.is_success:
                raise BenchError(f"GET {API}?{query} answers {response.text}")
        while len(seconds) < MOST_REQUESTS and sum(seconds) < MOST_SECONDS:
            started = time.perf_counter()
            client.get(f"{API}?{query}")
            seconds.append(time.perf_counter() - started)
    return median(seconds) * 1000


def _cursor_in_the_middle(database: Database, case: Case) -> str:
    """As the server writes it, without reading half of the pages."""
    sort = Sort(case.sort)
    direction = "DESC" if sort.descending else "ASC"
    order = ", ".join(f"{name} {direction}" for name in sort.names)
    (row,) = database.rows(
        f"SELECT * FROM items WHERE {case.rows} ORDER BY {order} LIMIT 1"
        f" OFFSET (SELECT count(*) / 2 FROM items WHERE {case.rows})"
    )
    cursors = Cursors(derive_key(SECRET_KEY, "cursor"))
    return cursors.write(sort, SimpleNamespace(**row))
