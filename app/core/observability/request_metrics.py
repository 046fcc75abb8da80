"""A middleware that measures requests for Prometheus."""

import time
from collections.abc import Awaitable

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.middleware.request_context import CLIENT_CLOSED_REQUEST
from app.core.http.scope import route_of

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # seconds
# A client can send any method, and each would add time series that are never removed.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Middleware that measures each request by its method, its route and its class of status."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Time from the head of a request to the end of its response.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=registry,
        )
        # Histogram.labels() takes longer than everything else here.
        self._by_labels = dict[tuple[str, str, int], Histogram]()
        self._in_progress = 0
        Gauge(
            "http_requests_in_progress", "Requests that are being served.", registry=registry
        ).set_function(lambda: self._in_progress)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0

        def send_wrapper(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        self._in_progress += 1
        try:
            await self.app(scope, receive, send_wrapper)
            status = status or CLIENT_CLOSED_REQUEST
        finally:
            self._in_progress -= 1
            self._observe(scope, status or 500, time.perf_counter() - started)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        labels = method, route_of(scope) or "unmatched", status // 100
        durations = self._by_labels.get(labels)
        if durations is None:
            durations = self._durations.labels(*labels[:2], f"{labels[2]}xx")
            self._by_labels[labels] = durations
        durations.observe(seconds)
