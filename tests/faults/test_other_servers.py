"""Other servers serve the application as `app serve` does: docs/deployment.md compares them."""

import signal
from collections.abc import Sequence

import pytest

from tests.isolation import DEADLINE_SECONDS
from tests.server import free_port, http_client, listen, sign_up, start, wait_until_live

pytestmark = pytest.mark.slow("it starts servers with several workers")

APP = "app.main:app"
SERVERS = {
    "gunicorn": ("gunicorn", APP, "--worker-class=uvicorn_worker.UvicornWorker", "--workers={n}"),
    "hypercorn": ("hypercorn", APP, "--workers={n}"),
    "granian": ("granian", APP, "--interface=asgi", "--workers={n}"),
}
ADDRESSES = {
    "gunicorn": ("--bind=127.0.0.1:{port}",),
    "hypercorn": ("--bind=127.0.0.1:{port}",),
    "granian": ("--host=127.0.0.1", "--port={port}"),
}


def command_of(server: str, port: int, workers: int) -> Sequence[str]:
    words = ("-m", *SERVERS[server], *ADDRESSES[server])
    return [word.format(port=port, n=workers) for word in words]


@pytest.mark.parametrize("server", SERVERS)
def test_server_serves_the_api_pages_and_web_sockets(database_url: str, server: str) -> None:
    port = free_port()
    workers = 2 if database_url.startswith("postgresql") else 1
    process = start(database_url, port, command_of(server, port, workers))
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            wait_until_live(process, client)
            assert client.get("/health/ready").json()["status"] == "ok"
            assert "<h1" in client.get("/").text
            sign_up(client)
            with listen(client) as socket:
                created = client.post("/api/v1/items", json={"name": "Lamp", "price": "1"})
                assert created.status_code == 201, created.text
                assert f'"item_id":{created.json()["id"]}' in socket.recv(DEADLINE_SECONDS)
            assert client.get("/api/v1/items").json()["results"] == [created.json()]
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=DEADLINE_SECONDS)
    assert status == 0
