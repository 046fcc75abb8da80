"""The pages below the path prefix of a proxy (ROOT_PATH)."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from tests.conftest import PASSWORD, make_person, make_settings, sign_in
from tests.databases import ROOT
from tests.slices import needs

PREFIX = "/shop"
LINKS = ("href", "src")
OTHERS = ("action", "formaction", "data-live", "data-news", "data-root", "data-url", "spec-url")
HOST = "http://localhost"
START = f"{HOST}{PREFIX}/"
MAILED = ("verify-email", "reset-password", "undo-email")
EMAIL = "eve@example.com"


@pytest.fixture
def settings(database_url: str) -> Settings:
    return make_settings(database_url, root_path=PREFIX)


def proxied(app: FastAPI) -> ASGIApp:
    """Return the application as uvicorn serves it with ROOT_PATH, behind a proxy for the prefix."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith(f"{PREFIX}/")
        await app({**scope, "root_path": PREFIX}, receive, send)

    return proxy


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(proxied(app))
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(transport=transport, base_url=START, headers=headers) as browser:
        yield browser


class Page(HTMLParser):
    """The links, all addresses and the forms of a page."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.links = list[str]()
        self.addresses = list[str]()
        self.forms = dict[str, dict[str, str]]()
        self._fields = dict[str, str]()
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for name, value in values.items():
            is_link = name in LINKS and not value.startswith("#")
            if is_link:
                self.links.append(value)
            if is_link or name in OTHERS:
                self.addresses.append(value)
        if tag == "form":
            self._fields = self.forms.setdefault(values.get("action", ""), {})
        elif tag == "input" and values.get("type") == "hidden" and "name" in values:
            self._fields[values["name"]] = values["value"]


async def submit(
    browser: httpx.AsyncClient, page: httpx.Response, action: str, **values: str
) -> httpx.Response:
    """Send the form of a page with its hidden fields, and return the page that it leads to."""
    fields = Page(page).forms[f"{PREFIX}{action}"]
    response = await browser.post(action, data=fields | values)
    assert response.status_code == 303, response.text
    assert response.headers["Location"].startswith(f"{PREFIX}/")
    return await browser.get(f"{HOST}{response.headers['Location']}", follow_redirects=True)


async def broken_addresses(browser: httpx.AsyncClient) -> list[str]:
    """Follow all links, and return those to nothing and the addresses that lack the prefix.

    The pages that only mails link to are visited, too.

    Addresses that differ in a number or in the query only count as one.
    """
    found = [START, *(f"{START}{page}?token=x" for page in MAILED)]
    seen, broken = set[str](), list[str]()
    while found:
        url = found.pop()
        kind = re.sub(r"\d+", "0", urlsplit(url).path)
        if kind in seen:
            continue
        seen.add(kind)
        response = await browser.get(url, follow_redirects=True)
        if response.status_code != 200:
            broken.append(f"{url}: {response.status_code}")
        if response.headers["Content-Type"].startswith("text/html"):
            page = Page(response)
            addresses = [urljoin(str(response.url), each) for each in page.addresses]
            broken += [f"{url}: {each}" for each in addresses if not each.startswith(START)]
            found += [urljoin(str(response.url), each) for each in page.links]
    assert len(seen) > 10
    return broken


async def test_links_of_a_guest_lead_below_the_prefix(browser: httpx.AsyncClient) -> None:
    assert (await broken_addresses(browser)) == []


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ("**/templates/**/*.html", r'(?:href|src|action|data-\w+)="/'),
        ("**/pages*/*.py", r'redirect\(f?"/'),
        ("web/**/*.py", r'redirect\(f?"/'),
    ],
)
def test_addresses_in_files_have_the_prefix(files: str, path: str) -> None:
    found = {file: re.findall(path, file.read_text()) for file in (ROOT / "app").glob(files)}
    assert len(found) > 3
    assert {file: addresses for file, addresses in found.items() if addresses} == {}


async def test_error_page_links_below_the_prefix(browser: httpx.AsyncClient) -> None:
    page = await browser.get("nowhere")
    assert page.status_code == 404
    assert f"{PREFIX}/problems/not-found" in Page(page).addresses
    assert all(address.startswith(f"{PREFIX}/") for address in Page(page).addresses)


@needs("items", "orders", "admin.py")
async def test_links_of_a_superuser_lead_below_the_prefix(
    app: FastAPI, browser: httpx.AsyncClient, password_hash: str
) -> None:
    root = await make_person(app, password_hash, "root", is_superuser=True)
    async with root.client as api:
        item = (await api.post("/api/v1/items", json={"name": "Lamp", "price": 1})).json()
        lines = [{"item_id": item["id"], "quantity": 1}]
        assert (await api.post("/api/v1/orders", json={"lines": lines})).status_code == 201
    await sign_in(browser, root)
    assert (await broken_addresses(browser)) == []


@needs("items")
async def test_journey_stays_below_the_prefix(
    app: FastAPI, browser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    guest = await browser.get("items")
    assert guest.headers["Location"] == f"{PREFIX}/login?next={PREFIX}/items"
    account = {"email": EMAIL, "password": PASSWORD}
    await submit(browser, await browser.get("signup"), "/signup", **account)
    await browser.post("logout")
    with caplog.at_level("INFO", "app.mail"):
        await app.state.resources.jobs.drain()
    (link,) = re.findall(r"http://127.0.0.1:8000(\S+token=\S+)", caplog.text)
    assert link.startswith(f"{PREFIX}/verify-email?token=")
    mailed = await browser.get(f"{HOST}{link}")
    page = await submit(browser, mailed, "/verify-email", current_password=PASSWORD)
    assert "Email address confirmed." in page.text

    login = await browser.get(f"{HOST}{guest.headers['Location']}")
    page = await submit(browser, login, "/login", **account)
    assert page.url.path == f"{PREFIX}/items"
    assert {cookie.path for cookie in browser.cookies.jar} == {PREFIX}
    new = await browser.get("items/new")
    page = await submit(browser, new, "/items/new", name="Lamp", price="1")
    (edit,) = {each for each in Page(page).links if each.endswith("/edit")}
    path = edit.removeprefix(PREFIX)
    page = await submit(browser, await browser.get(path), path, name="Desk", price="2")
    assert "Desk" in page.text
    path = path.replace("edit", "delete")
    page = await submit(browser, await browser.get(path), path)
    assert "deleted." in page.text
    page = await submit(browser, page, "/logout")
    assert page.url.path == f"{PREFIX}/login"
    assert [cookie.name for cookie in browser.cookies.jar] == ["device"]


@needs("items", "admin.py")
async def test_admin_stays_below_the_prefix(
    app: FastAPI, browser: httpx.AsyncClient, password_hash: str
) -> None:
    root = await make_person(app, password_hash, "root", is_superuser=True)
    await root.client.aclose()
    await sign_in(browser, root)
    listed = await browser.get("admin", follow_redirects=True)
    assert listed.url.path.startswith(f"{PREFIX}/admin/")
    created = await browser.post("admin/item/create", data={"name": "Lamp", "price": "1"})
    assert created.headers["Location"] == f"{PREFIX}/admin/item/list"
    page = await browser.get(f"{HOST}{created.headers['Location']}")
    for step in ("/item/details/", "/delete?select-"):
        (address,) = {each for each in Page(page).addresses if step in each}
        page = await browser.get(f"{HOST}{address}")
    page = await submit(browser, page, "/admin/item/delete")
    assert page.url.path == f"{PREFIX}/admin/item/list"
    page = await submit(browser, page, "/logout")
    assert page.url.path == f"{PREFIX}/login"
    assert (await browser.get("admin")).headers["Location"] == f"{PREFIX}/login?next={PREFIX}/admin"
