"""Webhooks of a real server and a real worker, with a receiver in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import httpx
import pytest
from standardwebhooks import Webhook

from tests.accounts.conftest import CONFIRM
from tests.accounts.session_cache import LOOK_UP_SECONDS
from tests.conftest import PASSWORD, SECRET_KEY, only, redis_url_for
from tests.databases import connect
from tests.features.webhooks.steps import WEBHOOKS
from tests.isolation import DEADLINE_SECONDS
from tests.server import serving, sign_in, sign_up
from tests.slices import needs
from tests.waiting import eventually
from tests.worker import working

ENVIRONMENT = {"WEBHOOK_ALLOWED_NETWORKS": "localhost", "SECRET_KEY": SECRET_KEY}


class Hook(ThreadingHTTPServer):
    """A receiver that answers 204 once it is released."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = Queue[tuple[dict[str, str], bytes]]()
        self.released = threading.Event()
        self.released.set()
        self.url = f"http://localhost:{self.server_port}/"

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.requests.get(timeout=DEADLINE_SECONDS)


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.put((dict(self.headers.items()), body))
        self.server.released.wait(DEADLINE_SECONDS)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        yield hook
        hook.released.set()
        hook.shutdown()
        thread.join()


@contextmanager
def deployed(database_url: str) -> Iterator[httpx.Client]:
    """Start a server and, where there is Redis, the worker that runs its jobs."""
    redis_url = redis_url_for(database_url)
    worker = working(redis_url, database_url, **ENVIRONMENT) if redis_url else nullcontext()
    with serving(database_url, **ENVIRONMENT) as client, worker:
        sign_up(client)
        yield client


def make(client: httpx.Client, hook: Hook) -> str:
    """Create a webhook, and return its secret."""
    types = client.get(f"{WEBHOOKS}/event-types").json()
    if not types:
        pytest.skip("No slice declares events")
    confirmed = client.post(CONFIRM, json={"current_password": PASSWORD})
    assert confirmed.status_code == 204, confirmed.text
    response = client.post(WEBHOOKS, json={"url": hook.url, "event_types": types})
    assert response.status_code == 201, response.text
    secret: str = response.json()["secret"]
    return secret


def test_server_sends_a_signed_event(own_database_url: str, hook: Hook) -> None:
    with deployed(own_database_url) as client:
        secret = make(client, hook)
        assert client.post(f"{WEBHOOKS}/1/test").status_code == 202
        headers, body = hook.next()
        assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"

        def status() -> str:
            found: str = client.get(f"{WEBHOOKS}/1/deliveries/1").json()["status"]
            return found

        eventually(lambda: status() == "succeeded")


@only("postgresql")
def test_event_of_a_worker_that_was_killed_is_sent_again_with_its_id(
    own_database_url: str, redis_url: str, hook: Hook
) -> None:
    with serving(own_database_url, **ENVIRONMENT) as client:
        sign_up(client)
        make(client, hook)
        hook.released.clear()
        with working(redis_url, own_database_url, **ENVIRONMENT) as worker:
            assert client.post(f"{WEBHOOKS}/1/test").status_code == 202
            first, _ = hook.next()
            worker.kill()
            worker.wait()
        hook.released.set()
        with working(redis_url, own_database_url, **ENVIRONMENT):
            second, _ = hook.next()
    assert first["webhook-id"] == second["webhook-id"]


def writes_without_look_up(client: httpx.Client, database_url: str) -> bool:
    """Write once, and again while no webhook can be read: a look-up waits."""
    write(client)
    with connect(database_url) as connection:
        connection.execute("LOCK TABLE webhooks")
        try:
            write(client, timeout=LOOK_UP_SECONDS)
        except httpx.TimeoutException:
            return False
    return True


def write(client: httpx.Client, timeout: float = DEADLINE_SECONDS) -> None:
    item = {"name": "Lamp", "price": "19.99"}
    assert client.post("/api/v1/items", json=item, timeout=timeout).status_code == 201


@only("postgresql")
@needs("items")
def test_webhook_of_one_process_gets_the_events_of_another(
    own_database_url: str, hook: Hook
) -> None:
    with (
        serving(own_database_url, **ENVIRONMENT) as client,
        serving(own_database_url, **ENVIRONMENT) as other,
    ):
        sign_up(client)
        sign_in(other)
        eventually(lambda: writes_without_look_up(other, own_database_url))
        make(client, hook)

        def is_queued() -> bool:
            write(other)
            return bool(client.get(f"{WEBHOOKS}/1/deliveries").json()["results"])

        eventually(is_queued)
