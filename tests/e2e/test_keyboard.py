"""Journeys by the keyboard alone."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PASSWORD, only
from tests.e2e.conftest import SUPERUSER, BrowserErrors, OpenPage

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]
MAX_TABS = 80
# What a screen reader says of the focused element, roughly.
NAME = """() => {
  const { activeElement: element } = document;
  const label = element.labels?.[0]?.textContent ?? element.getAttribute("aria-label");
  return (label ?? element.textContent).replace(/\\s+/g, " ").trim();
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on an element with this name, and can be seen."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(NAME) == name:
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outline) != "none", f"the focus on {name!r} cannot be seen"
            return
    raise AssertionError(f"no element is called {name!r}")


def press(page: Page, name: str, key: str = "Enter") -> None:
    tab_to(page, name)
    page.keyboard.press(key)


def sign_in(page: Page, email: str) -> None:
    page.goto("/login?next=/items")
    page.keyboard.type(email)  # The first field has the focus.
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Items")


def test_item_is_created_changed_deleted_and_restored(
    open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {422}
    page = open_page()
    sign_in(page, member)
    press(page, "New item")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Lamp")
    tab_to(page, "Price")
    page.keyboard.type("19.99")
    press(page, "On offer", "Space")
    press(page, "Save")
    expect(page.get_by_text("“Lamp” created.")).to_be_visible()
    press(page, "Lamp")
    expect(page.get_by_role("heading", level=1)).to_have_text("Edit Lamp")
    tab_to(page, "Price")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("cheap")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Price")).to_be_focused()  # It has the error.
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("25")
    page.keyboard.press("Enter")
    expect(page.get_by_text("“Lamp” saved.")).to_be_visible()
    press(page, "Undo")
    expect(page.locator("tbody .price")).to_have_text("$19.99")
    press(page, "Select Lamp", "Space")
    press(page, "Delete selected…")
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete what is selected?")
    press(page, "Delete")
    expect(page.get_by_text("1 deleted.")).to_be_visible()
    press(page, "Undo")
    expect(page.get_by_text("Restored.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    tab_to(page, "A Menu")
    page.keyboard.press("Enter")
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_user_is_searched_and_edited_in_the_admin(open_page: OpenPage, member: str) -> None:
    page = open_page()
    sign_in(page, SUPERUSER)
    page.goto("/admin")
    tab_to(page, "Search")
    page.keyboard.type(member)
    expect(page.locator("tbody tr")).to_have_count(1)
    press(page, member)
    expect(page.get_by_role("heading", level=1)).to_have_text(member)
    press(page, "Edit")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Edit {member}")
    tab_to(page, "Full name")
    page.keyboard.type("Ann Example")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"“{member}” saved.")).to_be_visible()
