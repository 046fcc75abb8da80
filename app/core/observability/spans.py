"""The spans that are not FastAPI's own, and the attributes of a request in a trace."""

from opentelemetry.context import Context
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider

QUERY = "url.query"


class QueryRedactor(SpanProcessor):
    """Replaces query strings, which may hold secrets: the links in mails have tokens."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.attributes and QUERY in span.attributes:
            span.set_attribute(QUERY, "REDACTED")


def tracer_provider() -> TracerProvider:
    """Return a provider, to which FastAPI adds the exporter when the application starts."""
    provider = TracerProvider(shutdown_on_exit=False)  # FastAPI flushes and ends its exporter.
    provider.add_span_processor(QueryRedactor())
    return provider


def trace_clients(provider: TracerProvider) -> None:
    """Make spans of what is sent to PostgreSQL and to Redis, without the values.

    SQLAlchemy's statements pass asyncpg as well, so that they need no spans of their own.
    """
    AsyncPGInstrumentor().instrument(tracer_provider=provider)  # type: ignore[no-untyped-call]
    RedisInstrumentor().instrument(tracer_provider=provider)
