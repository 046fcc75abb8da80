"""The server of the metrics, which is apart from the public port."""

import logging
import socket
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from app.core.config import Settings

CLIENT_SECONDS = 5
logger = logging.getLogger("app.metrics")


class MetricsHandler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS  # for each read and write

    def log_message(self, *_: object) -> None:
        """Log nothing: Prometheus asks every few seconds."""


class MetricsServer(ThreadingWSGIServer):
    """A server that runs in a thread."""

    allow_reuse_port = False  # Otherwise, two workers could share a port: newer Pythons allow it.

    def __init__(self, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


def start_server(settings: Settings, registry: CollectorRegistry) -> MetricsServer | None:
    """Start a server on the first free port, since each worker takes one of WEB_CONCURRENCY.

    Return None, and log an error, if none is free: the application works without its metrics.
    """
    first, count = settings.metrics_port, settings.web_concurrency
    app = make_wsgi_app(registry)
    for port in range(first, first + count):
        try:
            server = make_server(settings.metrics_host, port, app, MetricsServer, MetricsHandler)
        except (OSError, OverflowError) as error:  # in use, or above 65535
            logger.debug("Port %d: %s", port, error)
        else:
            server.start()
            logger.info("The metrics are on port %d of %s", port, settings.metrics_host)
            return server
    logger.error("No port from METRICS_PORT %d on is free: there are no metrics", first)
    return None
