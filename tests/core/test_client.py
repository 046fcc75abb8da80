"""By which address a client is known; uvicorn's part of it needs a real server."""

import pytest
from starlette.requests import Request

from app.core.client import client_address, client_network


@pytest.mark.parametrize(
    ("host", "address", "network"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:1::2", "2001:db8:0:1::2", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::3", "2001:db8:0:1:ffff::3", "2001:db8:0:1::/64"),
        ("::1", "::1", "::/64"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::/64"),
        ("", "unknown", "unknown"),
        ("nonsense", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_addresses(host: str | None, address: str, network: str) -> None:
    client = None if host is None else (host, 123)
    request = Request({"type": "http", "client": client, "headers": []})
    assert (client_address(request), client_network(request)) == (address, network)
