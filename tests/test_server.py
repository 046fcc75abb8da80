"""Tests that need a real server: concurrent writers, disconnected clients, a stop."""

import asyncio
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from passlib.context import CryptContext

from tests.conftest import only
from tests.isolation import DEADLINE_SECONDS
from tests.server import is_listening, serving, sign_up
from tests.slices import exists, needs
from tests.waiting import eventually

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}


@needs("items")
def test_twenty_concurrent_writers_lose_no_update(server: httpx.Client) -> None:
    check_that_no_update_is_lost(server)


@needs("items")
def test_twenty_concurrent_writers_on_two_workers_lose_no_update(two_workers: httpx.Client) -> None:
    check_that_no_update_is_lost(two_workers)


def check_that_no_update_is_lost(client: httpx.Client) -> None:
    sign_up(client)
    url = client.post(ITEMS, json=LAMP).headers["Location"]

    def change(n: int) -> Any:
        response = client.patch(url, json={"price": n})
        assert response.status_code == 200, response.text
        return response.json()["version"]

    with ThreadPoolExecutor(20) as pool:
        versions = list(pool.map(change, range(20)))
    assert sorted(versions) == list(range(2, 22))
    assert client.get(url).json()["version"] == 21


@needs("items")
def test_disconnected_clients_release_their_database_connections(server: httpx.Client) -> None:
    sign_up(server)
    host, port = server.base_url.host, server.base_url.port
    token = server.headers["Authorization"]
    body = json.dumps(LAMP)
    request = (
        f"POST {ITEMS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for sent in (request, request + body[:5], request + body):
        for _ in range(5):
            with socket.create_connection((host, port or 80)) as connection:
                connection.sendall(sent.encode())
                if sent == request + body:  # A request that has not started yet would be dropped.
                    connection.recv(1)
    # Only the complete requests create an item.
    eventually(lambda: len(server.get(ITEMS).json()["results"]) == 5)
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: server.get(ITEMS), range(8)))
    assert [response.status_code for response in responses] == [200] * 8
    assert [len(response.json()["results"]) for response in responses] == [5] * 8


def test_stopping_server_finishes_the_running_request(own_database_url: str) -> None:
    """`serving` sends SIGTERM; the request's body follows after it."""
    with ThreadPoolExecutor(1) as threads:
        with serving(own_database_url) as client:
            address = client.base_url.host, client.base_url.port or 80
            connection = socket.create_connection(address, DEADLINE_SECONDS)
            account = {"email": "ann@example.com", "password": "correct horse battery"}
            body = json.dumps(account).encode()
            connection.sendall(
                b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            # The application waits for the body.
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")

            def send_body_after_the_stop() -> bytes:
                eventually(lambda: not is_listening(*address))
                connection.sendall(body)
                with connection, connection.makefile("rb") as response:
                    return response.read()

            future = threads.submit(send_body_after_the_stop)
        assert future.result().startswith(b"HTTP/1.1 201 ")


@only("postgresql")
def test_server_starts_without_its_database_and_is_not_ready(database_url: str) -> None:
    with serving("postgresql+asyncpg://app@127.0.0.1:1/app") as client:
        response = client.get("/health/ready")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


async def test_password_hashing_does_not_block_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release = threading.Event(), threading.Event()

    def verify_slowly(*_: object) -> tuple[bool, None]:
        began.set()
        assert release.wait(DEADLINE_SECONDS), "the event loop is blocked"
        return False, None

    monkeypatch.setattr(CryptContext, "verify_and_update", verify_slowly)
    form = {"grant_type": "password", "username": "x@example.com", "password": "wrong"}
    sign_in = asyncio.create_task(client.post("/api/v1/auth/token", data=form))
    assert await asyncio.to_thread(began.wait, DEADLINE_SECONDS)
    assert (await client.get("/health/live")).status_code == 200
    assert not sign_in.done()
    release.set()
    assert (await sign_in).status_code == 400


@needs("items")
def test_responses_below_a_proxy_prefix_include_it(own_database_url: str) -> None:
    with serving(own_database_url, ROOT_PATH="/shop", ALLOWED_HOSTS="shop.example.com") as client:
        client.headers["Host"] = "shop.example.com"
        sign_up(client)
        assert client.post(ITEMS, json=LAMP).headers["Location"] == f"/shop{ITEMS}/1"
        assert client.post(ITEMS, json=LAMP).status_code == 201
        page = client.get(ITEMS, params={"limit": 1})
        assert page.headers["Link"].startswith(f"</shop{ITEMS}?")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/shop"}]
        assert client.get("/health/ready", headers={"Host": "10.0.0.1"}).status_code == 200
        if exists("pages.py"):
            check_that_pages_include_the_prefix(client)


def check_that_pages_include_the_prefix(client: httpx.Client) -> None:
    page = client.get("/login")
    assert 'action="/shop/login"' in page.text
    (style,) = re.findall(r'href="/shop(/static/style[^"]+)"', page.text)
    assert client.get(style).status_code == 200
    assert client.get("/account").headers["Location"] == "/shop/login?next=/shop/account"
