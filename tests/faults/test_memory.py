"""Tests that hostile bodies do not make the memory grow."""

import gc
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.server import serving_process

USERS = "/api/v1/users"
MEGABYTE = 1_000_000
MANY_KEYS = json.dumps({f"{n:x}": 0 for n in range(90_000)}).encode()
MALFORMED = b'{"email": "' + b"x" * MEGABYTE
DEEP = b"[" * 500_000 + b"]" * 500_000
JSON = {"Content-Type": "application/json"}
BODIES = {"many keys": MANY_KEYS, "malformed": MALFORMED, "deep": DEEP}


def errors_with_tracebacks() -> set[int]:
    errors = [each for each in gc.get_objects() if isinstance(each, BaseException)]
    return {id(each) for each in errors if each.__traceback__}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_refused_body_is_freed_after_its_request(
    client: httpx.AsyncClient, body: bytes
) -> None:
    """An error that keeps its traceback keeps the body until the garbage collector runs."""
    await client.post(USERS, content=body, headers=JSON)
    gc.collect()
    gc.disable()
    try:
        before = errors_with_tracebacks()
        assert (await client.post(USERS, content=body, headers=JSON)).status_code in (400, 422)
        assert errors_with_tracebacks() <= before
    finally:
        gc.enable()


async def test_unexpected_error_is_freed_after_its_request(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/api/v1/fails")
    async def fail() -> None:
        error = ZeroDivisionError()  # The frame and the traceback refer to each other.
        raise error

    gc.collect()
    gc.disable()
    try:
        before = errors_with_tracebacks()
        assert (await client.get("/api/v1/fails")).status_code == 500
        assert errors_with_tracebacks() <= before
    finally:
        gc.enable()


def memory_of(pid: int) -> int:
    """Return the process's resident memory, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) // 1024


def post(client: httpx.Client, body: bytes) -> None:
    response = client.post(USERS, content=body, headers=JSON)
    assert response.status_code in (400, 422)


def disconnect(client: httpx.Client, _: bytes) -> None:
    head = (
        f"POST {USERS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {MEGABYTE}\r\n\r\n"
    )
    address = client.base_url.host, client.base_url.port or 80
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + b"x" * (MEGABYTE - 1))


@pytest.mark.slow("1,600 bodies of a megabyte take half a minute")
def test_memory_stays_bounded_under_hostile_bodies(own_database_url: str) -> None:
    kinds: dict[str, tuple[Callable[[httpx.Client, bytes], Any], bytes]] = {
        **{name: (post, body) for name, body in BODIES.items()},
        "incomplete": (disconnect, b""),
    }
    # The garbage collector is not tuned in the test environment.
    environment = {"ENVIRONMENT": "production", "PUBLIC_URL": "https://example.com"}
    with serving_process(own_database_url, **environment) as (client, pid):
        client.get("/openapi.json")
        at_rest = memory_of(pid)
        for name, (send, body) in kinds.items():
            for _ in range(400):
                send(client, body)
            assert client.get("/health/live").status_code == 200
            above = memory_of(pid) - at_rest
            print(f"{name}: {above} MB above {at_rest} MB at rest")
            assert above <= 60, name
