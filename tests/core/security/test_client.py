"""Tests of the address of a client; forwarded addresses need a real server."""

import httpx
import pytest
from starlette.requests import Request

from app.core.security.client import client_address, client_network, site_of
from tests.server import serving
from tests.slices import needs


@pytest.mark.parametrize(
    ("host", "address", "network"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:1::2", "2001:db8:0:1::2", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::3", "2001:db8:0:1:ffff::3", "2001:db8:0:1::/64"),
        ("::1", "::1", "::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("", "unknown", "unknown"),
        ("nonsense", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_client_address_and_network_are_normalized(
    host: str | None, address: str, network: str
) -> None:
    client = None if host is None else (host, 123)
    request = Request({"type": "http", "client": client, "headers": []})
    assert (client_address(request), client_network(request)) == (address, network)


@pytest.mark.parametrize(
    ("network", "site"),
    [
        ("2001:db8:7:1::/64", "2001:db8:7::/48"),
        ("::/64", "::/48"),
        ("192.0.2.1", None),
        ("unknown", None),
    ],
)
def test_site_of_a_network_is_its_48(network: str, site: str | None) -> None:
    assert site_of(network) == site


@needs("items")
def test_forwarded_address_is_used_from_a_trusted_proxy_only(database_url: str) -> None:
    forwarded = [
        "198.51.100.1",
        "198.51.100.2",
        "203.0.113.9, 198.51.100.1",
        "8.8.8.8, 198.51.100.1",
    ]
    settings = {"FORWARDED_ALLOW_IPS": "127.0.0.1", "RATE_LIMIT_DEFAULT": "2/minute"}
    with (
        serving(database_url, **settings) as proxy,
        httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as stranger,
    ):

        def statuses(client: httpx.Client) -> list[int]:
            url = proxy.base_url.join("/api/v1/items")
            headers = ({"X-Forwarded-For": each} for each in forwarded)
            return [client.get(url, headers=each).status_code for each in headers]

        # The proxy has added the last address, and the client the other ones.
        assert statuses(proxy) == [401, 401, 401, 429]
        assert statuses(stranger) == [401, 401, 429, 429]  # Its header is ignored.
