"""Every page in every state: `python -m tests.e2e.gallery FOLDER` takes a picture of each.

It takes them on a phone and on a desktop, in light and dark, in English and Korean, and puts those
of a kind on sheets. `test_gallery.py` goes through the same states.
"""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from pyotp import TOTP

from app.features.items.cli import sample_item
from tests.conftest import CHROMIUM, PASSWORD
from tests.databases import Databases, Sqlite, alembic
from tests.server import http_client, serving

SUPERUSER = "root@example.com"
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
LONG_WORD, LONG_TEXT = "W" * 255, "A long text, such as people write it. " * 25
ODD_NAMES = (LONG_WORD, "\N{OWL}" * 100, "שלום עולם " * 20, " ")
CLOSED_PORT = "http://127.0.0.1:9/hook"
ISSUER = "http://127.0.0.1:9"
SETTINGS = {
    "RATE_LIMIT_LOGIN": "1000/minute",
    "LAB_ENABLED": "true",
    "FIRST_SUPERUSER_EMAIL": SUPERUSER,
    "FIRST_SUPERUSER_PASSWORD": PASSWORD,
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1",
    "OIDC_PROVIDERS": f'[{{"name": "acme", "issuer": "{ISSUER}", "client_id": "x",'
    ' "client_secret": "y", "label": "Acme"}]',
}
SHEET, GAP = (1800, 1240), 10


@dataclass
class Records:
    """What the states show."""

    items: list[dict[str, Any]]
    orders: dict[str, dict[str, Any]]
    webhook: dict[str, Any]


@dataclass
class Gallery:
    """A server with records, and a browser in which its pages are shown."""

    url: str
    database: tuple[Databases, str]
    browser: Browser
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def execute(self, statement: str) -> None:
        databases, url = self.database
        databases.execute(url, statement)

    @contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        context: BrowserContext = self.browser.new_context(
            base_url=self.url, reduced_motion="reduce", timezone_id="Asia/Seoul", **options
        )
        yield context.new_page()
        context.close()

    @contextmanager
    def api(self, email: str) -> Iterator[httpx.Client]:
        with http_client(f"{self.url}/api/v1") as client:
            form = {"grant_type": "password", "username": email, "password": PASSWORD}
            token = client.post("/auth/token", data=form).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            client.post("/auth/confirm", json={"current_password": PASSWORD})
            yield client

    def new_account(self) -> str:
        email = f"member{next(self.numbers)}@example.com"
        with http_client(f"{self.url}/api/v1") as client:
            account = {"email": email, "password": PASSWORD, "full_name": "Ann Example"}
            assert client.post("/users", json=account).status_code == 201
        return email

    def records(self, email: str) -> Records:
        with self.api(email) as api:
            samples = [sample_item(n).model_dump(mode="json") for n in range(45)]
            api.post("/items/batch", json=samples)
            odd = [
                {"name": name, "description": LONG_TEXT, "price": "9999999999.99", "is_offer": True}
                for name in ODD_NAMES
            ]
            items = api.post("/items/batch", json=odd).json()
            lines = [{"item_id": item["id"], "quantity": 1000} for item in items]
            orders = {}
            for status in ("draft", "placed", "shipped"):
                order = api.post("/orders", json={"lines": lines, "note": LONG_TEXT}).json()
                if status != "draft":
                    api.post(f"/orders/{order['id']}/place")
                orders[status] = order
            orders["empty"] = api.post("/orders", json={}).json()
            hook = {"url": CLOSED_PORT, "event_types": ["item.created"]}
            webhook = api.post("/webhooks", json=hook).json()
            file = BytesIO()
            Image.new("RGB", (640, 320), "teal").save(file, "PNG")
            for name in ("lamp.png", f"{'long-name-' * 20}.png"):
                upload = {"file": (name, file.getvalue(), "image/png")}
                api.post(f"/items/{items[0]['id']}/attachments", files=upload)
            api.post("/items", json={"name": "Lamp", "price": 1})  # for the webhook
        with self.api(SUPERUSER) as root:
            root.post(f"/orders/{orders['shipped']['id']}/ship")
        return Records(items, orders, webhook)


def sign_in(page: Page, email: str, path: str = "/items") -> None:
    page.context.clear_cookies()
    page.context.request.post(
        "/login",
        form={"email": email, "password": PASSWORD},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    page.goto(path)


def send(page: Page, selector: str = "main form button:not([type=button]):not(.link)") -> None:
    """Send the form without the checks of the browser."""
    page.evaluate("document.querySelectorAll('form').forEach((each) => (each.noValidate = true))")
    with page.expect_navigation():
        page.locator(selector).last.click()


def visits(page: Page, *paths: str) -> Iterator[str]:
    for path in paths:
        page.goto(path)
        yield path.strip("/") or "home"


def states(gallery: Gallery, page: Page) -> Iterator[str]:
    """Lead the page to each state, and yield its name."""
    yield from of_visitors(page)
    yield from of_new_members(gallery, page)
    email = gallery.new_account()
    records = gallery.records(email)
    sign_in(page, email)
    yield "items"
    yield from of_items(gallery, page, email, records)
    yield from of_orders(gallery, page, email, records)
    yield from of_webhooks(page, records)
    yield from of_accounts(gallery, page, email)
    yield from of_second_factors(gallery, page)
    yield from of_the_admin(page)


def of_visitors(page: Page) -> Iterator[str]:
    yield from visits(
        page,
        *(
            "/",
            "/signup",
            "/login?next=/items",
            "/forgot-password",
            "/problems",
            "/problems/idempotency-in-progress",
        ),
        *("/reset-password?token=x", "/verify-email?token=x", "/undo-email?token=x", "/nowhere"),
        *("/login/with/acme", "/graphql", "/lab"),
    )
    page.goto("/signup")
    send(page)
    yield "signup with errors"
    page.goto("/login")
    page.locator("[name=email]").fill("ann@example.com")
    page.locator("[name=password]").fill("wrong")
    send(page, "form:has([name=password]) button")
    yield "login with an error"
    page.goto("/login")
    page.locator(".menu summary").click()
    yield "menu of a visitor"
    for path in ("/docs", "/redoc"):
        page.goto(path)
        page.locator(".opblock, h2 a[href*='/operation/']").first.wait_for()
        yield path


def of_new_members(gallery: Gallery, page: Page) -> Iterator[str]:
    sign_in(page, gallery.new_account(), "/dashboard")
    yield "empty dashboard"
    page.locator(".menu summary").click()
    yield "menu"
    paths = ("/items", "/orders", "/orders/new", "/webhooks", "/account/passkeys")
    for path in visits(page, *paths, "/account/identities", "/admin"):
        yield f"{path} of a new member"


def of_items(gallery: Gallery, page: Page, email: str, records: Records) -> Iterator[str]:
    item = records.items[0]
    path = f"/items/{item['id']}"
    yield from visits(
        page,
        *("/dashboard", "/items?q=lamp&min_price=1&max_price=2&is_offer=true", "/items?q=nothing"),
        *("/items?min_price=x&is_offer=perhaps", "/items/new", f"{path}/edit", f"{path}/delete"),
        *(f"{path}/attachments", "/items/999999/edit"),
        f"/items/delete?select-{item['id']}=1&select-{records.items[1]['id']}=1",
    )
    page.goto("/items")
    page.locator("td.select input").nth(1).check()
    yield "items, selected"
    page.goto("/items/new")
    send(page)
    yield "new item with errors"
    page.goto(f"{path}/edit")
    with gallery.api(email) as api:
        api.patch(path, json={"name": "Changed", "description": LONG_WORD})
    page.locator("[name=price]").fill("5")
    send(page)
    yield "item, conflict"
    with gallery.api(email) as api:
        deleted = api.post("/items", json={"name": "Deleted", "price": 1}).json()
        page.goto(f"/items/{deleted['id']}/edit")
        api.delete(f"/items/{deleted['id']}")
    page.locator("[name=price]").fill("5")
    send(page)
    yield "item, deleted meanwhile"
    page.goto(f"/items/delete?select-{item['id']}=1&select-{records.items[1]['id']}=1")
    send(page)
    yield "items, not deleted together"
    page.goto("/items/new")
    page.locator("[name=name]").fill("Lamp")
    page.locator("[name=price]").fill("19.99")
    send(page)
    yield "items with a message"
    page.locator("tbody th a").first.click()
    page.locator("[name=price]").fill("20")
    send(page)
    yield "items with an undo"
    page.goto(
        page.locator("tbody th a").first.evaluate("link => link.href.replace('edit', 'delete')")
    )
    send(page)
    yield "items with the undo of a deletion"
    page.goto(f"{path}/edit")
    page.locator("[name=price]").fill("7")
    page.context.clear_cookies()
    send(page)
    yield "session that has ended"
    sign_in(page, email, f"{path}/edit")
    cookies = page.context.cookies()
    sign_in(page, gallery.new_account())
    others = page.context.cookies()
    page.context.clear_cookies()
    page.context.add_cookies(cookies)  # type: ignore[arg-type]  # They are what it takes.
    page.goto(f"{path}/edit")
    page.context.clear_cookies()
    page.context.add_cookies(others)  # type: ignore[arg-type]
    send(page)
    yield "form of another user"
    sign_in(page, email)


def of_orders(gallery: Gallery, page: Page, email: str, records: Records) -> Iterator[str]:
    orders = {status: f"/orders/{order['id']}" for status, order in records.orders.items()}
    yield from visits(
        page, "/orders", "/orders?status=shipped", "/orders?status=lost", "/orders/new"
    )
    for status, path in orders.items():
        page.goto(path)
        yield f"order, {status}"
    yield from visits(page, f"{orders['draft']}/delete")
    page.goto(orders["draft"])
    with gallery.api(email) as api:
        api.patch(orders["draft"], json={"note": None})
    send(page)
    yield "order, conflict"
    page.goto("/orders/new")
    page.locator("main input[name^=quantity]").first.fill("many")
    send(page)
    yield "new order with errors"


def of_webhooks(page: Page, records: Records) -> Iterator[str]:
    path = f"/webhooks/{records.webhook['id']}"
    yield from visits(page, "/webhooks", "/webhooks/new")
    send(page)
    yield "new webhook with errors"
    page.goto("/webhooks")
    hrefs = page.eval_on_selector_all(
        f"a[href^='{path}']", "(links) => links.map((link) => link.getAttribute('href'))"
    )
    for index, href in enumerate(dict.fromkeys(hrefs)):
        page.goto(href)
        yield f"webhook {index}"
        for name in ("secret", "delete", "deliveries/"):
            if link := page.query_selector(f"main a[href^='{path}/{name}']"):
                page.goto(str(link.get_attribute("href")))
                yield f"webhook {index}, {name}"
                page.goto(href)


def of_accounts(gallery: Gallery, page: Page, email: str) -> Iterator[str]:
    yield from visits(
        page, "/account", "/account/delete", "/account/api-keys/new", "/confirm?next=/account"
    )
    page.goto("/account")
    send(page, "form:has([name=new_password]) button")
    yield "account with errors"
    page.goto("/account/api-keys/new")
    page.locator("[name=name]").fill("Deployment")
    page.locator("main input[type=checkbox], main select").first.check()
    if password := page.query_selector("[name=current_password]"):
        password.fill(PASSWORD)
    send(page)
    yield "new API key"
    user = f"SELECT id FROM users WHERE email = '{email}'"
    now = "'2026-11-28 00:00:00'"
    gallery.execute(f"UPDATE users SET email_verified_at = {now} WHERE email = '{email}'")
    gallery.execute(
        "INSERT INTO linked_identities (id, user_id, issuer, subject, email, created_at) "
        f"SELECT '{uuid4().hex}', id, '{ISSUER}', '{email}', '{email}', {now} FROM ({user})"
    )
    paths = ("/account", "/account/identities", "/account/passkeys/new")
    yield from visits(page, *paths, "/confirm?next=/account")


def of_second_factors(gallery: Gallery, page: Page) -> Iterator[str]:
    email = gallery.new_account()
    gallery.execute("UPDATE users SET email_verified_at = created_at")
    sign_in(page, email, "/account/second-factor")
    yield "second factor, none"
    page.goto("/account/second-factor/set-up")
    yield "second factor, set-up"
    send(page)
    yield "second factor, set-up with an error"
    totp = TOTP(page.locator(".card code").first.inner_text().replace(" ", ""))
    page.locator("[name=code]").fill(totp.now())
    send(page)
    yield "recovery codes"
    yield from visits(page, "/account/second-factor", "/confirm")
    gallery.execute("UPDATE auth_sessions SET confirmed_at = NULL")
    page.goto("/account/passkeys/new")
    yield "password to confirm"
    page.context.clear_cookies()
    page.goto("/login")
    page.locator("[name=email]").fill(email)
    page.locator("[name=password]").fill(PASSWORD)
    send(page, "form:has([name=password]) button")
    yield "sign-in code"
    page.locator("[name=code]").fill(totp.at(time.time() - 600))
    send(page, "form:has([name=code]) button")
    yield "sign-in code with an error"


def of_the_admin(page: Page) -> Iterator[str]:
    sign_in(page, SUPERUSER, "/admin/user/list")
    lists = page.eval_on_selector_all(
        "a[href*='/admin/'][href$='/list']", "(links) => links.map((link) => link.href)"
    )
    for url in dict.fromkeys(lists):
        page.goto(url)
        kind = re.findall("/admin/(.+)/list", url)[0]
        yield f"admin, {kind}"
        for action in ("details", "edit"):
            page.goto(url)
            if link := page.query_selector(f"tbody a[href*='/{kind}/{action}/']"):
                page.goto(str(link.get_attribute("href")))
                yield f"admin, {kind} {action}"
    yield from visits(page, "/admin/item/create", "/admin/nothing/list", "/admin/item/details/0")
    page.goto("/admin/user/create")
    send(page)
    yield "admin, user with errors"


@contextmanager
def opened(databases: Databases, template_url: str, browser: Browser) -> Iterator[Gallery]:
    """Start a server on a new database."""
    url = databases.create(template_url)
    with serving(url, **SETTINGS) as client:
        yield Gallery(str(client.base_url).rstrip("/"), (databases, url), browser)
    databases.drop(url)


def take(gallery: Gallery, folder: Path) -> None:
    variants = product((PHONE, DESKTOP), ("light", "dark"), ("en-GB", "ko-KR"))
    for viewport, scheme, locale in variants:
        name = f"{viewport['width']}-{scheme}-{locale[:2]}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        paths = list[Path]()
        with gallery.page(viewport=viewport, color_scheme=scheme, locale=locale) as page:
            for number, state in enumerate(states(gallery, page), 1):
                plain = re.sub(r"[^a-z0-9]+", "-", state.lower()).strip("-")
                paths.append(folder / name / f"{number:03}-{plain[:60]}.png")
                page.screenshot(path=paths[-1], full_page=True, animations="disabled")
        put_on_sheets(paths, folder, name, 300 if viewport is PHONE else 600)
        print(f"{name}: {len(paths)} pictures", flush=True)


def put_on_sheets(paths: list[Path], folder: Path, name: str, width: int) -> None:
    """Put the upper parts of the pictures beside each other, in the given width."""
    columns, height = SHEET[0] // width, SHEET[1] // 2
    for start in range(0, len(paths), 2 * columns):
        sheet = Image.new("RGB", SHEET, "gray")
        for index, path in enumerate(paths[start : start + 2 * columns]):
            with Image.open(path) as picture:
                scaled = picture.convert("RGB")
            scaled.thumbnail((width - GAP, scaled.height))
            row, column = divmod(index, columns)
            upper = scaled.crop((0, 0, scaled.width, min(scaled.height, height - GAP)))
            sheet.paste(upper, (column * width, row * height))
        sheet.save(folder / f"{name}-{start // (2 * columns) + 1:02}.png")


def main(folder: Path) -> None:
    with TemporaryDirectory() as temporary:
        databases = Sqlite(Path(temporary))
        template_url = databases.create()
        # Playwright runs an event loop in this thread, in which migrations cannot start another.
        alembic(template_url, "upgrade", "head")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            with opened(databases, template_url, browser) as gallery:
                take(gallery, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
