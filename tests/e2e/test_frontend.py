"""The example of a front end in `examples/react`, built and served by this server."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.discovery import optional
from tests import server as servers
from tests.conftest import PASSWORD, only
from tests.databases import ROOT, Databases
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage
from tests.server import serving
from tests.slices import needs

pytestmark = [
    only("sqlite"),
    needs("items", "frontend.py"),
    pytest.mark.slow("npm installs and builds the example"),
]
EXAMPLE = ROOT / "examples/react"
AT = "/app/" if optional("app.pages") else "/"
EMAIL = "ann@example.com"  # `sign_up` creates this account.
NEEDED_NODE = (20, 19)


def node_version() -> tuple[int, ...]:
    if not (shutil.which("node") and shutil.which("npm")):
        return ()
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return tuple(map(int, re.findall(r"\d+", version.stdout)[:2]))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build of a copy of the example, made by the commands of its README."""
    if node_version() < NEEDED_NODE:
        pytest.skip("Node.js 20.19 or later, and npm, are not installed")
    if subprocess.run(["npm", "ping", "--silent", "--fetch-retries=1"], check=False).returncode:
        pytest.skip("The registry of npm cannot be reached")
    folder = tmp_path_factory.mktemp("react")
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    ignore = shutil.ignore_patterns(*ignored)
    shutil.copytree(EXAMPLE, folder, ignore=ignore, dirs_exist_ok=True)
    with (folder / "openapi.json").open("wb") as document:
        command, environment = [".venv/bin/app", "openapi"], {"FRONTEND_DIR": str(folder)}
        environment |= {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=document, check=True)
    npm = ["npm", "--silent"]
    subprocess.run([*npm, "ci"], cwd=folder, check=True)
    subprocess.run([*npm, "run", "generate"], cwd=folder, check=True)
    subprocess.run([*npm, "run", "build", "--", f"--base={AT}"], cwd=folder, check=True)
    return folder / "dist"


@pytest.fixture
def api(databases: Databases, template_url: str, build: Path) -> Iterator[httpx.Client]:
    """Yield a client of a server with the build, which is another device of the user."""
    url = databases.create(template_url)
    with serving(url, FRONTEND_DIR=str(build)) as client:
        servers.sign_up(client)
        yield client
    databases.drop(url)


@pytest.fixture
def page(api: httpx.Client, open_page: OpenPage, browser_errors: BrowserErrors) -> Iterator[Page]:
    address = str(api.base_url).rstrip("/")
    browser_errors.host = address.removeprefix("http://")
    browser_errors.expected = {400, 401, 412}
    page = open_page(base_url=address, viewport={"width": 390, "height": 800})
    yield page
    page.close()


def test_example_signs_in_and_creates_and_edits_items(page: Page, api: httpx.Client) -> None:
    page.goto(f"{AT}some/route")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    check_accessibility(page)
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Items")
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == [
        "",
        0,
        0,
    ]

    create = page.get_by_role("form", name="Create")
    create.get_by_label("Name").fill("Lamp")
    create.get_by_label("Price").fill("19.99")
    create.get_by_role("button").click()
    expect(page.get_by_role("listitem")).to_contain_text("Lamp")
    check_accessibility(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    page.get_by_role("button", name="Edit Lamp").click()
    edit = page.get_by_role("form", name="Save")
    edit.get_by_label("Price").fill("25")
    edit.get_by_role("button").click()
    expect(page.get_by_role("listitem")).to_contain_text("25.00")
    (item,) = api.get("/api/v1/items").json()["results"]
    assert (item["price"], item["version"]) == ("25.00", 2)


def test_example_shows_a_change_of_another_device(page: Page, api: httpx.Client) -> None:
    page.goto(AT)
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Items")
    item = api.post("/api/v1/items", json={"name": "Lamp", "price": "1"}).json()
    page.reload()
    page.get_by_role("button", name="Edit Lamp").click()
    api.patch(f"/api/v1/items/{item['id']}", json={"name": "Lantern"})
    edit = page.get_by_role("form", name="Save")
    edit.get_by_label("Price").fill("25")
    edit.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("was changed in the meantime")
    expect(page.get_by_role("listitem")).to_contain_text("Lantern")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
