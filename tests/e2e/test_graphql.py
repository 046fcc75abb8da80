"""The page on which to try GraphQL, in a browser."""

import pytest
from playwright.sync_api import expect

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, Site
from tests.slices import needs

pytestmark = [needs("graphql", "pages.py"), only("sqlite"), pytest.mark.slow("it drives a browser")]


def test_query_is_run_with_the_token_of_the_page(
    site: Site, open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {401}
    page = open_page(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    page.goto("/graphql")
    page.get_by_label("Access token or API key").fill("forged")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("status")).to_have_text("401 Unauthorized")
    with site.api(member) as api:
        form = {"grant_type": "password", "username": member, "password": PASSWORD}
        token = api.post("/auth/token", data=form).json()["access_token"]
    page.get_by_label("Access token or API key").fill(token)
    page.get_by_label("Example").select_option("Create an item")
    page.get_by_label("Variables").fill("[]")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("status")).to_have_text("The variables are not a JSON object.")
    page.get_by_label("Variables").fill("")
    page.get_by_label("Query").press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("200 OK")
    expect(page.locator("pre")).to_contain_text('"createItem"')
    check_accessibility(page)
