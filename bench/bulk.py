"""Measures batches and exports."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from bench.contenders import PROJECT, Server, running_server
from bench.database import Database, Person, temporary_database
from bench.load import measure
from bench.process import resident_mb
from bench.report import Table
from bench.workloads import API, NEW_ITEM, PEOPLE, Request

BATCH = 1_000
BATCH_CONNECTIONS = 4
WRITTEN = f"SELECT count(*) / {BATCH} FROM items"
FORMATS = ("ndjson", "csv")


@dataclass(frozen=True)
class Export:
    rows: int
    seconds: float
    first_byte_seconds: float
    peak_growth_mb: float  # of the resident memory


def run(server_url: str, seconds: int, items: int) -> Iterator[Table]:
    with temporary_database(server_url) as database:
        people = database.add_people(PEOPLE)
        with running_server(PROJECT, database.url) as server:
            yield _batches(server, database, people, seconds)
        database.execute("TRUNCATE items RESTART IDENTITY")
        database.add_items(people[:1], 1, items)
        rows = []
        for format_ in FORMATS:
            with running_server(
                PROJECT, database.url
            ) as server:  # a new process for each, to measure its memory
                rows.append([format_, *_export_cells(server, people[0], format_, items)])
        head = ("format", "rows/s", "first byte ms", "MB more than at rest")
        yield Table(f"GET /items/export of {items:,} items", head, rows)


def _batches(server: Server, database: Database, people: list[Person], seconds: int) -> Table:
    title = f"POST /items/batch of {BATCH:,}, {BATCH_CONNECTIONS} connections"
    head = ("items/s", "CPU µs an item", "p50 ms", "p99 ms")
    requests = [Request("POST", f"{API}/batch", each, [NEW_ITEM] * BATCH) for each in people]
    if refusal := _refusal(server, requests[0]):
        return Table(title, head, [[refusal, "", "", ""]])
    found = measure(server, database, requests, seconds, WRITTEN, BATCH_CONNECTIONS)
    row = [
        f"{found.per_second * BATCH:,.0f}",
        f"{found.cpu_us / BATCH:.1f}",
        f"{found.p50_ms:.0f}",
        f"{found.p99_ms:.0f}",
    ]
    return Table(title, head, [row])


def _export_cells(server: Server, person: Person, format_: str, items: int) -> list[str]:
    path = f"{API}/export?format={format_}"
    memory_before = resident_mb(server.pid)
    if refusal := _refusal(server, Request("GET", f"{path}&max_price=0", person)):
        return [refusal, "", ""]
    found = _export(server, path, person, memory_before)
    if found.rows != items:
        return [f"wrong: {found.rows:,} rows", "", ""]
    return [
        f"{found.rows / found.seconds:,.0f}",
        f"{found.first_byte_seconds * 1000:.0f}",
        f"{found.peak_growth_mb:.1f}",
    ]


def _export(server: Server, path: str, person: Person, memory_before: float) -> Export:
    peak = memory_before
    lines, first = 0, 0.0
    started = time.perf_counter()
    with httpx.stream("GET", server.url + path, headers=_headers(person), timeout=60) as response:
        for chunk in response.iter_raw():
            first = first or time.perf_counter() - started
            lines += chunk.count(b"\n")
            peak = max(peak, resident_mb(server.pid))
    seconds = time.perf_counter() - started
    rows = lines - 1 if "csv" in path else lines  # without the header
    return Export(rows, seconds, first, peak - memory_before)


def _refusal(server: Server, request: Request) -> str | None:
    """Return why the request cannot be measured, or None if it succeeds."""
    response = httpx.request(
        request.method,
        server.url + request.path,
        headers=_headers(request.person),
        json=request.body,
        timeout=60,
    )
    if response.is_success:
        return None
    path = request.path.partition("?")[0]
    return f"NOT MEASURED: {request.method} {path} answers {response.status_code}"


def _headers(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}", "Accept-Encoding": "identity"}
