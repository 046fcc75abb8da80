"""Traces by OpenTelemetry, which FastAPI makes and exports by itself."""

import logging
import os
from importlib.util import find_spec

from fastapi.telemetry import TelemetryConfig

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# FastAPI would otherwise check at each request whether there is telemetry.
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False)
logger = logging.getLogger("app.tracing")


def telemetry_config() -> TelemetryConfig:
    """Return FastAPI's settings: to trace requests if OpenTelemetry's own variable is set."""
    if not os.environ.get(ENDPOINT):
        return NO_TELEMETRY
    if not find_spec("opentelemetry.instrumentation.asyncpg"):
        logger.warning(
            "%s is set, but there are no traces: install the extra `telemetry`", ENDPOINT
        )
        return NO_TELEMETRY
    from app.core.observability.spans import trace_clients, tracer_provider  # They need the extra.

    provider = tracer_provider()
    trace_clients(provider)
    return TelemetryConfig(tracer_provider=provider, auto_configure=True, metrics=False, logs=False)
