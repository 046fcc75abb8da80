"""The pages of webhooks in a browser, on a small phone."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, sign_in
from tests.slices import needs

pytestmark = [needs("webhooks", "items"), only("sqlite"), pytest.mark.slow("it drives a browser")]
# A public address to which nothing is sent: the webhook is disabled.
URL = "http://1.1.1.1/a-very-long-path-" + "x" * 200


def check(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    check_accessibility(page)


def test_webhook_is_created_and_changed(
    open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {422}
    page = open_page(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    sign_in(page, member)
    page.goto("/webhooks")
    check(page, "Webhooks")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Address").fill("http://10.0.0.1/")
    page.get_by_label("item.created").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The host of the address is not public.")).to_be_visible()
    check(page, "New webhook")
    page.get_by_label("Address").fill(URL)
    page.get_by_label("Enabled").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("whsec_")).to_be_visible()
    check(page, "Secret of a webhook")
    page.get_by_role("link", name="Done").click()
    check(page, "Deliveries")
    page.get_by_role("link", name=URL).click()
    check(page, "Edit a webhook")
    expect(page.get_by_label("item.created")).to_be_checked()
    page.get_by_role("link", name="Replace the secret…").click()
    check(page, "Replace the secret")
    page.get_by_role("button", name="Replace").click()
    check(page, "Secret of a webhook")
    page.goto("/webhooks")
    check(page, "Webhooks")
