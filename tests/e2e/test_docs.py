"""Swagger UI and Redoc in a browser, under the content security policy."""

import httpx
import pytest
from playwright.sync_api import expect

from tests.conftest import PASSWORD, only
from tests.e2e.conftest import OpenPage, Site
from tests.isolation import DEADLINE_SECONDS

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]


def test_swagger_ui_signs_in_and_creates_an_item(open_page: OpenPage, member: str) -> None:
    page = open_page()
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_label("username").fill(member)
    dialog.get_by_label("password:", exact=True).first.fill(PASSWORD)
    dialog.get_by_role("button", name="Apply").click()
    dialog.get_by_role("button", name="Close").click()
    operation = page.locator("#operations-items-create_item")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Execute").click()
    response = operation.locator(".live-responses-table .response")
    expect(response.locator(".response-col_status")).to_contain_text("201")
    expect(response).to_contain_text('"name": "Lamp"')


def test_redoc_shows_all_operations_and_searches(site: Site, open_page: OpenPage) -> None:
    document = httpx.get(f"{site.url}/openapi.json", timeout=DEADLINE_SECONDS).json()
    paths = document["paths"].values()
    page = open_page()
    page.goto("/redoc")
    expect(page.locator("h2 a[href*='/operation/']")).to_have_count(sum(map(len, paths)))
    page.get_by_placeholder("Search").fill("batch")  # The search runs in a web worker.
    expect(page.get_by_role("search").get_by_text("Create Items")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "heading", "light", "dark"),
    [
        ("/docs", ".info .title", "rgb(59, 65, 81)", "rgb(210, 214, 215)"),
        ("/redoc", "h1", "rgb(51, 51, 51)", "rgb(232, 238, 236)"),
    ],
)
def test_docs_follow_the_chosen_theme_and_the_system(
    open_page: OpenPage, path: str, heading: str, light: str, dark: str
) -> None:
    page = open_page(color_scheme="dark")
    page.goto(path)
    expect(page.locator(heading)).to_have_css("color", dark)
    page.emulate_media(color_scheme="light")
    expect(page.locator(heading)).to_have_css("color", light)
    page.goto("/")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Dark theme").click()
    page.goto(path)
    expect(page.locator(heading)).to_have_css("color", dark)
