"""Takes the screenshots of the README: `make screenshots`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from playwright.sync_api import ViewportSize, sync_playwright

from app.features.items.cli import sample_item
from tests.conftest import CHROMIUM
from tests.databases import ROOT, Sqlite, alembic
from tests.e2e.conftest import sign_in
from tests.server import serving, sign_up

FOLDER = ROOT / "docs"
EMAIL = "ann@example.com"  # `sign_up` creates this account.
WINDOW: ViewportSize = {"width": 1280, "height": 800}


def take(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(base_url=address, viewport=WINDOW, locale="en-GB")
        sign_in(page, EMAIL)
        page.screenshot(path=FOLDER / "items.png")
        page.emulate_media(color_scheme="dark")
        page.get_by_role("link", name="Lamp").first.click()
        page.get_by_label("Name").wait_for()
        page.screenshot(path=FOLDER / "edit.png")
        browser.close()


def seed(client: httpx.Client) -> None:
    sign_up(client)
    items = [sample_item(n).model_dump(mode="json") for n in range(60)]
    client.post("/api/v1/items/batch", json=items).raise_for_status()


def main() -> None:
    with TemporaryDirectory() as temporary:
        url = Sqlite(Path(temporary)).create()
        alembic(url, "upgrade", "head")
        with serving(url) as client:
            seed(client)
            take(str(client.base_url))


if __name__ == "__main__":
    main()
