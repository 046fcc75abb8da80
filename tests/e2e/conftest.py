"""A real browser on a real server.

`open_page` checks in every test that the page requests nothing from other hosts, and that the
browser reports no errors.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    WebSocket,
    expect,
    sync_playwright,
)

from tests.conftest import CHROMIUM, PASSWORD
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.server import http_client, serving
from tests.smtp import Inbox, receiving
from tests.waiting import eventually

SUPERUSER = "root@example.com"
numbers = count(1)

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


@dataclass
class Site:
    url: str
    inbox: Inbox
    database_url: str

    def new_email(self) -> str:
        """Return an email address that no account has."""
        return f"ann{next(numbers)}@example.com"

    def link_mailed_to(self, email: str) -> str:
        def mailed() -> list[EmailMessage]:
            return [message for message in self.inbox.messages if message["To"] == email]

        eventually(mailed)
        body = mailed()[-1].get_body(("plain",))
        assert body
        (link,) = re.findall(r"https?://\S+", body.get_content())
        return str(link)

    @contextmanager
    def api(self, email: str) -> Iterator[httpx.Client]:
        """Return a client of the API, which is another device of the user."""
        with http_client(f"{self.url}/api/v1") as client:
            form = {"grant_type": "password", "username": email, "password": PASSWORD}
            token = client.post("/auth/token", data=form).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client


@pytest.fixture(scope="package")
def site(databases: Databases, template_url: str) -> Iterator[Site]:
    url = databases.create(template_url)
    environment = {
        "RATE_LIMIT_LOGIN": "1000/minute",
        "FIRST_SUPERUSER_EMAIL": SUPERUSER,
        "FIRST_SUPERUSER_PASSWORD": PASSWORD,
    }
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(receiving()) as inbox,
        serving(url, SMTP_URL=inbox.url, **environment) as server,
    ):
        yield Site(str(server.base_url), inbox, url)
    databases.drop(url)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            timeout=DEADLINE_SECONDS * 1000,
            # As in normal use: "back" shows a page from memory.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


@dataclass
class BrowserErrors:
    """Errors that a browser reports.

    The console also reports responses with a status of 400 and more. A test names those that it
    provokes in `expected`.
    """

    host: str
    expected: set[int] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def listen(self, context: BrowserContext) -> None:
        context.on("request", self._on_request)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.found.append(f"exception: {error.error}"))
        context.on("dialog", self._on_dialog)
        context.on("page", lambda page: page.on("websocket", self._on_request))

    def _on_dialog(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # The page asks before what was typed is lost.
            return dialog.accept()
        self.found.append(f"dialog: {dialog.message}")

    def _on_request(self, request: Request | WebSocket) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self.host:
            self.found.append(f"request: {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        """Collect messages of the console, such as violations of the content security policy."""
        status = re.search(r"responded with a status of (\d+)", message.text)
        is_expected = status and int(status[1]) in self.expected
        if message.type in ("error", "warning") and not is_expected:
            self.found.append(f"{message.type}: {message.text}")


@pytest.fixture
def browser_errors(site: Site) -> BrowserErrors:
    return BrowserErrors(urlsplit(site.url).netloc)


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, site: Site, browser_errors: BrowserErrors) -> Iterator[OpenPage]:
    """Return a function that opens a page in a new browser context, with Playwright's options."""
    contexts: list[BrowserContext] = []

    def open_(**options: Any) -> Page:
        # Dates are formatted for this locale and time zone.
        given = {"base_url": site.url, "locale": "de-DE", "timezone_id": "Asia/Seoul"}
        context = chromium.new_context(**given | options)
        context.set_default_timeout(DEADLINE_SECONDS * 1000)
        browser_errors.listen(context)
        contexts.append(context)
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()
    assert browser_errors.found == []


@pytest.fixture
def member(site: Site) -> str:
    """Return the email address of a new account without items."""
    email = site.new_email()
    account = {"email": email, "password": PASSWORD}
    url = f"{site.url}/api/v1/users"
    httpx.post(url, json=account, timeout=DEADLINE_SECONDS, verify=False).raise_for_status()
    return email


def sign_in(page: Page, email: str) -> None:
    """Sign in and show the items. `test_journey.py` fills in the form."""
    page.context.request.post(
        "/login",
        form={"email": email, "password": PASSWORD},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    page.goto("/items")
    expect(page.locator("body[data-private]")).to_be_visible()
