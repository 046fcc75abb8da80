"""Many wrong sign-ins from a few networks, and a good one from another."""

import socket
from urllib.parse import urlencode

import httpx

from tests.server import serving, sign_up

TOKEN = "/api/v1/auth/token"
NETWORKS = [f"192.0.2.{n}" for n in range(1, 5)]


def send_wrong_sign_in(client: httpx.Client, network: str, name: str) -> socket.socket:
    form = {"grant_type": "password", "username": name, "password": "wrong"}
    body = urlencode(form)
    lines = [
        f"POST {TOKEN} HTTP/1.1",
        f"Host: {client.base_url.host}",
        f"X-Forwarded-For: {network}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
    ]
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    connection.sendall("\r\n".join([*lines, "", body]).encode())
    return connection


def was_checked(connection: socket.socket) -> bool:
    """Whether the password was found to be wrong, by now."""
    connection.setblocking(False)
    try:
        return connection.recv(12) == b"HTTP/1.1 400"
    except BlockingIOError:
        return False


def test_sign_in_is_served_during_a_flood_from_other_networks(database_url: str) -> None:
    with serving(database_url, MAX_CONNECTIONS="2000") as client:
        sign_up(client)
        flood = [
            send_wrong_sign_in(client, network, f"{n}@example.com")
            for n in range(95)
            for network in NETWORKS
        ]
        httpx.get(client.base_url.join("/health/live"), timeout=60)  # accepted after all of them
        form = {"grant_type": "password", "username": "ann@example.com"}
        good = {"password": "correct horse battery"}
        address = {"X-Forwarded-For": "192.0.2.9"}
        response = client.post(TOKEN, data=form | good, headers=address, timeout=60)
        checked = sum(map(was_checked, flood))
        for connection in flood:
            connection.close()
    assert response.status_code == 200
    assert checked < len(flood) / 2
