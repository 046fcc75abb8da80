"""The admin in a browser: it works under its content security policy, without other hosts."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PASSWORD, only
from tests.databases import Databases
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import SUPERUSER, BrowserErrors, OpenPage, Site, sign_in

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]
HOSTILE = "<img src=x onerror=alert(1)> 'Lamp'"


@pytest.fixture
def admin(open_page: OpenPage) -> Page:
    page = open_page()
    sign_in(page, SUPERUSER)
    page.locator(".menu summary").click()
    page.get_by_role("link", name="Admin").click()
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    page.wait_for_load_state()  # The script of the list follows its elements.
    return page


def open_section(admin: Page, name: str) -> None:
    admin.get_by_role("navigation", name="Admin").get_by_role("link", name=name).click()
    expect(admin.get_by_role("heading", level=1)).to_have_text(name)
    admin.wait_for_load_state()


@pytest.mark.parametrize("has_script", [True, False], ids=["with script", "without script"])
def test_item_is_created_changed_and_deleted(
    open_page: OpenPage, browser_errors: BrowserErrors, has_script: bool
) -> None:
    admin = open_page(java_script_enabled=has_script)
    sign_in(admin, SUPERUSER)
    admin.goto("/admin")
    open_section(admin, "Items")
    admin.get_by_role("link", name="New item").click()
    admin.get_by_label("Name").fill(HOSTILE)
    admin.get_by_label("Price").fill("cheap")
    browser_errors.expected = {422}
    save(admin)
    expect(admin.get_by_text("Enter a number such as 19.99.")).to_be_visible()
    admin.get_by_label("Price").fill("19.99")
    admin.get_by_label("On offer").check()
    save(admin)
    expect(admin.get_by_role("status").first).to_have_text(f"“{HOSTILE}” created.")
    search(admin, HOSTILE)
    expect(admin.locator("tbody tr")).to_have_count(1)
    with admin.expect_download() as download:
        admin.get_by_role("link", name="CSV").click()
    assert HOSTILE in Path(download.value.path()).read_text()
    admin.get_by_role("link", name=HOSTILE, exact=True).click()
    expect(admin.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    admin.get_by_role("link", name="Edit").click()
    admin.get_by_label("Price").fill("5")
    save(admin)
    search(admin, HOSTILE)
    expect(admin.locator("tbody")).to_contain_text("$5.00")
    admin.locator("tbody").get_by_role("checkbox").check()
    admin.get_by_role("button", name="Delete selected…").click()
    expect(admin.get_by_role("heading", level=1)).to_have_text(f"Delete {HOSTILE}?")
    admin.get_by_role("button", name="Delete").click()
    expect(admin.get_by_role("status").first).to_have_text(f"“{HOSTILE}” deleted.")
    search(admin, HOSTILE)
    expect(admin.get_by_text("Nothing matches.")).to_be_visible()


def test_list_is_filtered_and_sorted(admin: Page) -> None:
    admin.get_by_label("Superuser", exact=True).select_option(label="Yes")
    expect(admin.locator("tbody tr")).to_have_count(1)  # The script searches at each change.
    expect(admin.get_by_role("link", name="Remove the filter Superuser: Yes")).to_be_visible()
    admin.get_by_role("link", name="Email", exact=True).click()
    expect(admin.locator("tbody")).to_contain_text(SUPERUSER)


def test_deleted_session_is_signed_out(
    site: Site, admin: Page, open_page: OpenPage, member: str
) -> None:
    other = open_page(user_agent=f"The device of {member}")
    sign_in(other, member)
    open_section(admin, "Sessions")
    search(admin, member)
    admin.get_by_role("link", name=f"The device of {member}").click()
    admin.get_by_role("link", name="Delete…").click()
    admin.get_by_role("button", name="Delete").click()
    # The socket of the page is closed, and the page redirects to the sign-in.
    expect(other.get_by_role("heading", name="Welcome back")).to_be_visible()


@pytest.mark.parametrize("section", ["Users", "Sessions", "Security events"])
def test_columns_fit_a_window_of_1280_pixels(open_page: OpenPage, section: str) -> None:
    page = open_page(viewport={"width": 1280, "height": 800})
    sign_in(page, SUPERUSER)
    page.goto("/admin")
    open_section(page, section)
    table = page.locator(".records")
    assert table.evaluate("table => table.scrollWidth <= table.clientWidth")


def test_user_without_permission_is_refused(
    open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {403}
    page = open_page()
    sign_in(page, member)
    page.goto("/admin")
    expect(page.get_by_role("heading", name="Access denied")).to_be_visible()


def test_interrupted_form_is_sent_again_after_the_password(
    admin: Page, browser_errors: BrowserErrors, site: Site, databases: Databases
) -> None:
    admin.get_by_role("link", name="New user").click()
    admin.get_by_label("Email").fill(email := site.new_email())
    admin.get_by_label("Password").fill(PASSWORD)
    databases.execute(site.database_url, "UPDATE auth_sessions SET confirmed_at = NULL")
    browser_errors.expected = {403, 422}
    save(admin)
    expect(admin.get_by_role("heading", name="Confirm your password")).to_be_visible()
    check_accessibility(admin)
    admin.get_by_label("Current password").fill(PASSWORD)
    admin.get_by_role("button", name="Confirm").click()
    expect(admin.get_by_label("Email")).to_have_value(email)  # its password is not sent back
    admin.get_by_label("Password").fill(PASSWORD)
    save(admin)
    search(admin, email)
    expect(admin.locator("tbody tr")).to_have_count(1)


def test_back_after_sign_out_shows_nothing(admin: Page) -> None:
    admin.locator(".menu summary").click()
    admin.get_by_role("button", name="Sign out").click()
    expect(admin.get_by_text("You are signed out.")).to_be_visible()
    admin.go_back()
    expect(admin.get_by_role("heading", name="Welcome back")).to_be_visible()


def test_admin_is_accessible(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    sign_in(page, SUPERUSER)
    for path in ("user/list", "item/create", "auth-session/list", "security-event/list"):
        page.goto(f"/admin/{path}")
        check_accessibility(page)
    page.goto("/admin/user/details/1")
    check_accessibility(page)
    page.get_by_role("link", name="Delete…").click()
    expect(page.get_by_role("heading", name=f"Delete {SUPERUSER}?")).to_be_visible()
    check_accessibility(page)


def save(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()


def search(page: Page, words: str) -> None:
    page.wait_for_load_state()
    page.get_by_role("searchbox", name="Search").fill(words)
    with page.expect_event("load"):  # The search while typing loads no page.
        page.get_by_role("button", name="Search", exact=True).click()
