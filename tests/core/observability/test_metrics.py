"""Tests of the metrics: their labels, their values, and the port that each process has."""

import math
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.core.jobs.queue import JobQueue
from app.core.observability.metrics import serving_metrics
from app.core.observability.request_metrics import RequestMetrics
from tests.conftest import client_of
from tests.databases import ROOT
from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port, hold_port, http_client, serving
from tests.waiting import eventually, eventually_async

PAGE = (ROOT / "docs/monitoring.md").read_text()
METRICS = {*re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)}
ALERTS = (ROOT / "deploy/prometheus/alerts.yml").read_text()
REQUESTS = "http_request_duration_seconds_count"
Samples = dict[tuple[str, ...], float]


def samples_of(text: str) -> Samples:
    """Return the values by the names of the metrics and the values of their labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def client(registry: CollectorRegistry) -> AsyncIterator[httpx.AsyncClient]:
    app, router = FastAPI(), APIRouter()
    app.add_middleware(RequestMetrics, registry=registry)

    @router.get("/items/{number}")
    async def read_item(number: int) -> float | None:
        return registry.get_sample_value("http_requests_in_progress")

    @router.get("/refused")
    async def refuse() -> Response:
        return Response(status_code=503)

    @router.get("/failed")
    async def fail() -> Response:
        raise ValueError

    app.include_router(router, prefix="/v1")
    async with client_of(app) as client:
        yield client


def counts(registry: CollectorRegistry) -> Samples:
    """Return the numbers of requests by method, route and class of status."""
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {(*each.labels.values(),): each.value for each in samples if each.name == REQUESTS}


async def test_requests_are_counted_by_route_template_and_status_class(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    for path in ("/v1/items/1", "/v1/items/2", "/v1/items/x", "/v1/refused"):
        await client.get(path)
    with pytest.raises(ValueError):  # noqa: PT011 - The server would log it.
        await client.get("/v1/failed")
    assert counts(registry) == {
        ("GET", "/v1/items/{number}", "2xx"): 2,
        ("GET", "/v1/items/{number}", "4xx"): 1,
        ("GET", "/v1/refused", "5xx"): 1,
        ("GET", "/v1/failed", "5xx"): 1,
    }


async def test_unknown_paths_and_methods_add_one_time_series(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    for name in ("first", "second"):
        await client.request(name.upper(), f"/{name}")
    assert counts(registry) == {("other", "unmatched", "4xx"): 2}


async def test_request_is_in_progress_until_it_is_answered(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    assert (await client.get("/v1/items/1")).json() == 1
    assert registry.get_sample_value("http_requests_in_progress") == 0


async def test_metrics_of_the_process_are_served_on_their_own_port(
    app: FastAPI, registry: CollectorRegistry
) -> None:
    RequestMetrics(app, registry)
    port = free_port()
    changes = {"metrics_enabled": True, "metrics_port": port, "web_concurrency": 1}
    resources = app.state.resources
    resources = replace(resources, settings=resources.settings.model_copy(update=changes))
    async with resources.database.transaction() as session:
        await JobQueue(session).enqueue("no runner knows this")
    pool = "write" if resources.database.is_sqlite else "shared"
    async with (
        serving_metrics(resources, registry),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_SECONDS, verify=False
        ) as client,
        resources.database.transaction() as session,
    ):
        await session.connection()

        async def has_counted_jobs() -> bool:
            samples = samples_of((await client.get("/metrics")).text)
            counted = samples.get(("jobs", "due")), samples.get(("event_loop_lag_seconds_count",))
            return all(counted)

        await eventually_async(has_counted_jobs)
        text = (await client.get("/metrics")).text
    types, samples = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)), samples_of(text)
    assert types >= METRICS
    assert samples["jobs", "due"] == 1
    assert samples["jobs", "failed"] == samples["jobs", "later"] == 0
    assert not math.isnan(samples["jobs_oldest_due_seconds",])
    assert samples["database_pool_in_use", pool] == 1
    assert samples["database_pool_waiting", pool] == 0
    assert samples["websockets_open",] == 0
    assert samples["process_resident_memory_bytes",] > 0
    assert samples["process_cpu_seconds_total",] > 0


def test_alerts_are_documented_and_use_documented_metrics() -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS)
    expressions = re.findall(r"expr:(.+?)(?:for|labels):", ALERTS, re.DOTALL)
    names = re.findall(r"[a-z]+(?:_[a-z]+)+", " ".join(expressions))
    assert len(alerts) == len(expressions) == 3
    assert all(f"| `{alert}` |" in PAGE for alert in alerts)
    assert {name.removesuffix("_count") for name in names} < METRICS


@pytest.mark.slow("starts a server with two workers")
def test_each_worker_serves_its_metrics_and_the_public_port_serves_none(
    own_database_url: str,
) -> None:
    ports = free_ports()
    settings = {"METRICS_ENABLED": "true", "METRICS_PORT": str(ports[0]), "WEB_CONCURRENCY": "2"}

    def metrics_of(port: int) -> Samples:
        with http_client(f"http://127.0.0.1:{port}") as client:
            return samples_of(client.get("/metrics").raise_for_status().text)

    def are_both_served() -> bool:
        try:
            return all(map(metrics_of, ports))
        except httpx.TransportError:
            return False

    with serving(own_database_url, **settings) as client:
        eventually(are_both_served)
        before = sum(map(live_requests, map(metrics_of, ports)))
        assert client.get("/metrics").status_code == 404
        client.get("/health/live")
        assert sum(map(live_requests, map(metrics_of, ports))) == before + 1


def free_ports() -> tuple[int, int]:
    """Return two free ports, one after the other."""
    while True:
        first = free_port()
        with suppress(OSError):
            return first, hold_port(first + 1)


def live_requests(samples: Samples) -> float:
    return samples.get((REQUESTS, "GET", "/health/live", "2xx"), 0)
