"""The options that the server is started with."""

from typing import Any

from app.core.config import Settings

GRACEFUL_SHUTDOWN_SECONDS = 20
# On a machine short of CPU, importing the application takes longer than uvicorn's default of 5 s.
HUNG_WORKER_SECONDS = 60

PING_SECONDS = 20  # a WebSocket's client then has as long to answer
MAX_SOCKET_MESSAGE_BYTES = 1024


def server_options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn, for `uvicorn.run()`."""
    return {
        "host": settings.host,
        "port": settings.port,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_SECONDS,
        "timeout_worker_healthcheck": HUNG_WORKER_SECONDS,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "ws_max_size": MAX_SOCKET_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # it takes 40 kB a socket, and short messages stay as long
        "server_header": False,
        "access_log": False,  # app.core.middleware writes one
        "log_config": None,
    }
