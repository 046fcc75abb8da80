"""Test a client that openapi-python-client generates from `/openapi.json`, on a real server."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD
from tests.slices import needs

BIN = Path(sys.executable).parent
NAME = "generated_client"


def call(operation: str, **arguments: Any) -> Any:
    module = importlib.import_module(f"{NAME}.api.{operation}")
    return module.sync_detailed(**arguments)


def generate(document: bytes, folder: Path) -> None:
    (folder / "openapi.json").write_bytes(document)
    command = [str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json"]
    result = subprocess.run(
        [*command, "--meta", "none", "--output-path", NAME, "--fail-on-warning"],
        cwd=folder,
        env=os.environ
        | {"PATH": f"{BIN}:{os.environ['PATH']}"},  # The generator formats with ruff.
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == 0, result.stdout
    assert "warning" not in result.stdout.lower()


@needs("items")
def test_generated_client_creates_reads_updates_and_deletes_an_item(
    server: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    generate(server.get("/openapi.json").content, tmp_path)
    package, models = (importlib.import_module(f"{NAME}{name}") for name in ("", ".models"))
    url = str(server.base_url)
    with package.Client(url) as client:
        sign_up = models.UserCreate(email="ann@example.com", password=PASSWORD)
        user = call("users.create_user", client=client, body=sign_up).parsed
        form = models.TokenRequest(grant_type="password", username=user.email, password=PASSWORD)
        token = call("auth.create_token", client=client, body=form).parsed
    with package.AuthenticatedClient(url, token.access_token) as client:
        use_items(client, models, user.id)


def use_items(client: Any, models: Any, owner_id: int) -> None:
    lamp = models.ItemCreate(name="Lamp", price="19.99")
    created = call("items.create_item", client=client, body=lamp)
    item = created.parsed
    assert (created.status_code, item.price, item.owner_id) == (201, "19.99", owner_id)
    assert created.headers["Location"].endswith(f"/{item.id}")
    page = call("items.list_items", client=client, q="lamp", sort=models.ListItemsSort.PRICE_DESC)
    assert (page.parsed.results, page.parsed.next_) == ([item], None)

    change = models.ItemUpdate(price=5, description=None)
    changed = call("items.update_item", client=client, item_id=item.id, body=change).parsed
    assert (changed.name, changed.price, changed.version) == ("Lamp", "5.00", 2)
    file = call("items.export_items", client=client).parsed
    assert file.splitlines()[1].startswith(f"{item.id},Lamp,,5.00,")

    refused = call("items.create_item", client=client, body=models.ItemCreate(name="", price="x"))
    assert isinstance(refused.parsed, models.Problem)
    assert [error.loc[1] for error in refused.parsed.errors] == ["name", "price"]
    assert call("items.delete_item", client=client, item_id=item.id).status_code == 204
    problem = call("items.read_item", client=client, item_id=item.id).parsed
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.detail) == (404, f"Item Not Found (id: {item.id})")
