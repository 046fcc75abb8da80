"""Swagger UI and Redoc in a browser, under the content security policy."""

import re

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import serious_violations
from tests.e2e.conftest import BrowserErrors, OpenPage, Site, sign_in
from tests.isolation import DEADLINE_SECONDS
from tests.slices import needs

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]


def execute(page: Page, operation: str) -> Locator:
    """Press Execute in an operation, and return the response that is shown."""
    block = page.locator(f"#operations-{operation}")
    if "is-open" not in str(block.get_attribute("class")):
        block.get_by_role("button").first.click()
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response")


def test_guest_executes_after_authorizing(
    open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {401}
    page = open_page()
    page.goto("/docs")
    response = execute(page, "items-create_item")
    expect(response.locator(".response-col_status")).to_contain_text("401")
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_label("username").fill(member)
    dialog.get_by_label("password:", exact=True).first.fill(PASSWORD)
    dialog.get_by_role("button", name="Apply").click()
    dialog.get_by_role("button", name="Close").click()
    response = execute(page, "items-create_item")
    expect(response.locator(".response-col_status")).to_contain_text("201")
    expect(response).to_contain_text('"name": "Lamp"')


@needs("pages.py")
def test_signed_in_user_executes_without_authorizing(open_page: OpenPage, member: str) -> None:
    page = open_page(locale="ko-KR")
    sign_in(page, member)
    page.locator(".bar").get_by_role("link", name="API 문서").click()
    expect(page.get_by_text("이 계정으로 실행됩니다")).to_contain_text(member)
    for operation, status in (("items-create_item", "201"), ("items-list_items", "200")):
        response = execute(page, operation)
        expect(response.locator(".response-col_status")).to_contain_text(status)
        expect(response).to_contain_text('"name": "Lamp"')
    page.locator(".brand").click()
    expect(page).to_have_url(re.compile("/dashboard$"))


def test_redoc_shows_all_operations_and_searches(site: Site, open_page: OpenPage) -> None:
    document = httpx.get(f"{site.url}/openapi.json", timeout=DEADLINE_SECONDS).json()
    paths = document["paths"].values()
    page = open_page()
    page.goto("/redoc")
    expect(page.locator("h2 a[href*='/operation/']")).to_have_count(sum(map(len, paths)))
    page.get_by_placeholder("Search").fill("batch")  # The search runs in a web worker.
    expect(page.get_by_role("search").get_by_text("Create Items")).to_be_visible()


HEADINGS = pytest.mark.parametrize(
    ("path", "heading", "light", "dark"),
    [
        ("/docs", ".info .title", "rgb(59, 65, 81)", "rgb(210, 214, 215)"),
        ("/redoc", "h1", "rgb(51, 51, 51)", "rgb(232, 238, 236)"),
    ],
)


@HEADINGS
def test_docs_follow_the_theme_of_the_system(
    open_page: OpenPage, path: str, heading: str, light: str, dark: str
) -> None:
    page = open_page(color_scheme="dark")
    page.goto(path)
    expect(page.locator(heading)).to_have_css("color", dark)
    page.emulate_media(color_scheme="light")
    expect(page.locator(heading)).to_have_css("color", light)


@needs("pages.py")
@HEADINGS
def test_docs_follow_the_theme_that_is_chosen_in_the_menu(
    open_page: OpenPage, path: str, heading: str, light: str, dark: str
) -> None:
    page = open_page(color_scheme="light")
    page.goto(path)
    expect(page.locator(heading)).to_have_css("color", light)
    for color, background in ((dark, "rgb(14, 19, 18)"), (light, "rgb(250, 249, 246)")):
        page.locator(".menu summary").click()
        page.get_by_role("button", name="Dark theme").click()
        expect(page.locator(heading)).to_have_css("color", color)
        expect(page.locator("html")).to_have_css("background-color", background)
        page.reload()
        expect(page.locator(heading)).to_have_css("color", color)


@needs("pages.py")
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_bar_of_the_docs_is_accessible_and_fits_a_phone(
    open_page: OpenPage, path: str, color_scheme: str
) -> None:
    page = open_page(viewport={"width": 320, "height": 640}, color_scheme=color_scheme)
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.locator(".menu summary").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # What is inside of Swagger UI and ReDoc is theirs. The preload resolves @import wrongly.
    docs = {"exclude": "#swagger-ui, redoc"}
    assert serious_violations(page, docs, preload=False) == []
