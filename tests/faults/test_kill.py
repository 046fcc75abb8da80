"""A server that is killed again and again while clients write."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import httpx
import pytest

from tests.server import serving, serving_until_killed, sign_in, sign_up
from tests.slices import needs
from tests.waiting import eventually

ITEMS = "/api/v1/items"
KILLS, WRITERS, WRITES = 5, 8, 50


def create(client: httpx.Client, key: str) -> str:
    """Create an item whose name is the idempotency key, and return its address."""
    body = {"name": key, "price": "1"}
    response = client.post(ITEMS, json=body, headers={"Idempotency-Key": key})
    assert response.status_code == 201, response.text
    return response.headers["Location"]


def names(client: httpx.Client) -> Iterator[str]:
    url = f"{ITEMS}?limit=100"
    while url:
        page = client.get(url)
        yield from (item["name"] for item in page.json()["results"])
        url = str(page.links.get("next", {}).get("url", ""))


@needs("items")
@pytest.mark.slow("starts six servers")
def test_kills_lose_no_acknowledged_write_and_retries_make_none_twice(
    own_database_url: str,
) -> None:
    keys = (f"key-{number}" for number in count())
    acknowledged, interrupted = set[str](), set[str]()

    def write_until_killed(client: httpx.Client) -> None:
        while True:
            key = next(keys)
            try:
                create(client, key)
            except httpx.TransportError:
                interrupted.add(key)
                return
            acknowledged.add(key)

    for kill in range(KILLS):
        with ThreadPoolExecutor(WRITERS) as threads:
            with serving_until_killed(own_database_url) as client:
                (sign_in if kill else sign_up)(client)
                before = len(acknowledged)
                writers = [threads.submit(write_until_killed, client) for _ in range(WRITERS)]
                eventually(lambda: len(acknowledged) >= before + WRITES)  # noqa: B023  # It is called here.
            for writer in writers:
                writer.result()
    with serving(own_database_url) as client:
        sign_in(client)
        for key in interrupted:
            create(client, key)
        found = sorted(names(client))
    assert found == sorted(acknowledged | interrupted)
    assert len(interrupted) >= KILLS
