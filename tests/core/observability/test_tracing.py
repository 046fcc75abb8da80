"""Tests of traces: what is recorded, and when there are none."""

import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from sqlalchemy import bindparam, select

from app.accounts.models import User
from app.core.database.queries import Query
from app.core.database.unit_of_work import Database
from app.core.observability import tracing
from app.core.observability.tracing import ENDPOINT, NO_TELEMETRY, telemetry_config
from tests.conftest import client_of, make_settings, only


class UserId(BaseModel):
    id: int


FIND = Query(select(User.id).where(User.email == bindparam("email")), UserId)


@pytest.fixture
def _endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def app(_endpoint: None, exporter: InMemorySpanExporter) -> Iterator[FastAPI]:
    config = telemetry_config()
    assert isinstance(config["tracer_provider"], TracerProvider)
    config["tracer_provider"].add_span_processor(SimpleSpanProcessor(exporter))
    yield FastAPI(telemetry=config)
    AsyncPGInstrumentor().uninstrument()  # type: ignore[no-untyped-call]
    RedisInstrumentor().uninstrument()


async def test_request_is_traced_by_its_route_and_without_its_query(
    app: FastAPI, exporter: InMemorySpanExporter
) -> None:
    @app.get("/reset/{number}")
    async def reset(number: int) -> None: ...

    async with client_of(app) as client:
        await client.get("/reset/1?token=secret")
    spans = exporter.get_finished_spans()
    assert spans[-1].name == "GET /reset/{number}"
    assert "secret" not in str([dict(span.attributes or {}) for span in spans])


@only("postgresql")
@pytest.mark.usefixtures("app")
async def test_statements_are_traced_once_and_without_their_values(
    exporter: InMemorySpanExporter, database_url: str
) -> None:
    database = Database(make_settings(database_url))
    async with database.reading() as session:
        await session.fetch(FIND, {"email": "secret"})
        await session.scalar(select(User.id).where(User.email == "secret"))
    await database.dispose()
    spans = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    statements = [str(span["db.statement"]) for span in spans if "users" in str(span)]
    assert len(statements) == 2
    assert all("users.email = $1" in statement for statement in statements)
    assert "secret" not in str(spans)


@pytest.mark.usefixtures("_endpoint")
def test_missing_extra_is_logged_and_nothing_is_traced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    assert telemetry_config() is NO_TELEMETRY
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "install the extra `telemetry`" in record.getMessage()


def test_nothing_is_traced_without_an_endpoint() -> None:
    assert telemetry_config() is NO_TELEMETRY
