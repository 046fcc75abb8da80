from collections.abc import Iterator

import httpx
import pytest

from tests.databases import Databases
from tests.server import serving_process, sign_up

MAX_CONNECTIONS = 5


@pytest.fixture(scope="package")
def small_server(databases: Databases, template_url: str) -> Iterator[tuple[httpx.Client, int]]:
    """Yield a signed-in client of a server for MAX_CONNECTIONS, and the id of its process."""
    url = databases.create(template_url)
    with serving_process(url, MAX_CONNECTIONS=str(MAX_CONNECTIONS)) as (client, pid):
        sign_up(client)
        yield client, pid
    databases.drop(url)
