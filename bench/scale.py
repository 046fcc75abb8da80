"""Measures lists and searches of an owner with few items, and of one with many."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace

import httpx
from rich.progress import Progress

from app.core.database.pagination import Cursors, Sort
from app.core.security.keys import derive_key
from bench.contenders import PROJECT, Server, running_server
from bench.database import SECRET_KEY, Database, Person, temporary_database
from bench.errors import BenchError
from bench.report import Table
from bench.workloads import API

WARM_UPS = 3
MAX_REQUESTS = 100
MAX_SECONDS = 2.0
SORTS = ("id", "name", "price", "created_at", "updated_at")
# Filters, each with a sort that an index serves together with it, and its condition in SQL.
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
    query: str
    sort: str
    condition: str = "true"  # the filter in SQL
    matches: str = ""
    is_superuser: bool = False

    @property
    def path(self) -> str:
        return f"{API}?" + f"{self.query}&sort={self.sort}".lstrip("&")


CASES = (
    *(Case("", sign + name) for name in SORTS for sign in ("", "-")),
    *(Case(query, sort, rows) for query, sort, rows in FILTERS),
    Case("owner_id=1", "id", is_superuser=True),
    *(Case(query, "id", matches=matches) for query, matches in SEARCHES),
)


@dataclass(frozen=True)
class Site:
    database: Database
    server: Server
    owner: Person
    superuser: Person


def run(server_url: str, small: int, large: int, progress: Progress) -> Table:
    """Measure each case with both sizes."""
    with ExitStack() as stack:
        task = progress.add_task("filling the databases", total=len(CASES))
        sites = [stack.enter_context(_site(server_url, size)) for size in (small, large)]
        rows = []
        for case in CASES:
            progress.update(task, description=case.path.partition("?")[2])
            rows.append(_row(case, sites))
            progress.advance(task)
    each = (f"of {small:,}", f"of {large:,}", "ratio")
    title = "p50 in ms of GET /items, 20 of so many: the first page, and a page in the middle"
    return Table(title, ("query", *each, *each), rows)


@contextmanager
def _site(server_url: str, size: int) -> Iterator[Site]:
    with temporary_database(server_url) as database:
        (owner,), (superuser,) = database.add_people(1), database.add_people(1, is_superuser=True)
        database.add_items([owner], 1, size)
        with running_server(PROJECT, database.url) as server:
            yield Site(database, server, owner, superuser)


def _row(case: Case, sites: list[Site]) -> list[str]:
    title = case.path.partition("?")[2]
    if case.matches:  # of a search the first page alone
        return [f"{title} ({case.matches})", *_cells(case, sites, is_first=True), "", "", ""]
    return [title, *_cells(case, sites, is_first=True), *_cells(case, sites, is_first=False)]


def _cells(case: Case, sites: list[Site], *, is_first: bool) -> list[str]:
    few, many = (_p50_ms(site, case, is_first) for site in sites)
    return [f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"]


def _p50_ms(site: Site, case: Case, is_first: bool) -> float:
    path = case.path
    if not is_first:
        path += f"&cursor={_cursor_in_the_middle(site.database, case)}"
    person = site.superuser if case.is_superuser else site.owner
    headers = {"Authorization": f"Bearer {person.token}"}
    seconds: list[float] = []
    with httpx.Client(base_url=site.server.url, headers=headers, timeout=120) as client:
        for _ in range(WARM_UPS):
            response = client.get(path)
            if not response.is_success:
                raise BenchError(f"GET {path} answers {response.text}")
        site.database.pin_backends()
        while len(seconds) < MAX_REQUESTS and sum(seconds) < MAX_SECONDS:
            started = time.perf_counter()
            client.get(path)
            seconds.append(time.perf_counter() - started)
    return median(seconds) * 1000


def _cursor_in_the_middle(database: Database, case: Case) -> str:
    """Create the cursor of a page in the middle, without reading the pages before it."""
    sort = Sort(case.sort)
    direction = "DESC" if sort.descending else "ASC"
    order = ", ".join(f"{name} {direction}" for name in sort.names)
    (row,) = database.rows(
        f"SELECT * FROM items WHERE {case.condition} ORDER BY {order} LIMIT 1"
        f" OFFSET (SELECT count(*) / 2 FROM items WHERE {case.condition})"
    )
    cursors = Cursors(derive_key(SECRET_KEY, "cursor"))
    return cursors.write(sort, SimpleNamespace(**row))
