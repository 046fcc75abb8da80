"""Tests of a server after its database or its code has changed."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from tests.conftest import only
from tests.databases import Databases
from tests.isolation import empty_folder
from tests.server import free_port, http_client, serving, sign_up, wait_until_live
from tests.slices import needs
from tests.waiting import eventually

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}


@pytest.mark.slow("it starts the server by its command")
def test_server_starts_on_a_newer_schema(databases: Databases, own_database_url: str) -> None:
    """The application was rolled back to an older version."""
    databases.execute(own_database_url, "UPDATE alembic_version SET version_num = 'later'")
    port = free_port()
    command = [str(Path(sys.executable).with_name("app")), "serve", "--migrate"]
    settings = {"DATABASE_URL": own_database_url, "PORT": str(port)}
    process = subprocess.Popen(command, cwd=empty_folder(), env=os.environ | settings)
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            wait_until_live(process, client)
            eventually(lambda: client.get("/health/ready").status_code == 200)
    finally:
        process.terminate()
        process.wait()


@only("postgresql")
def test_server_recovers_from_a_read_only_database(
    databases: Databases, own_database_url: str
) -> None:
    """After a failover, open connections may lead to a read-only standby."""
    alter = f"ALTER DATABASE {make_url(own_database_url).database} SET"
    with serving(own_database_url) as client:
        sign_up(client)
        assert client.post(ITEMS, json=LAMP).status_code == 201
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        databases.execute(
            own_database_url,
            f"{alter} default_transaction_read_only = on",
            f"{cut} AND datname = current_database()",
        )
        eventually(lambda: client.post(ITEMS, json=LAMP).status_code == 503)
        refused = client.post(ITEMS, json=LAMP)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (
            503,
            "The database cannot be written to. Try again in a moment.",
        )
        assert client.get(ITEMS).status_code == 200
        databases.execute(
            own_database_url,
            "SET default_transaction_read_only = off",
            f"{alter} default_transaction_read_only = off",
        )
        eventually(lambda: client.post(ITEMS, json=LAMP).status_code == 201)
        assert client.get("/health/ready").status_code == 200


@needs("items")
def test_too_many_entity_tags_return_431(server: httpx.Client) -> None:
    sign_up(server)
    url = server.post(ITEMS, json=LAMP).headers["Location"]
    for count in range(1000, 8000, 500):
        tags = ",".join(f'"{n}"' for n in range(count))
        response = server.patch(url, json={"price": 1}, headers={"If-Match": tags})
        assert response.status_code == 431
    assert server.patch(url, json={"price": 1}, headers={"If-Match": '"1"'}).status_code == 200
