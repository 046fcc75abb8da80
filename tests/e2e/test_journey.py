"""The journey of a new user, with JavaScript and without."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests import server as servers
from tests.conftest import PASSWORD, only
from tests.databases import Databases
from tests.e2e.conftest import BrowserErrors, OpenPage, Site
from tests.relay import relaying
from tests.server import serving
from tests.slices import needs

pytestmark = only("sqlite")
HOSTILE = "<img src=x onerror=alert(1)> \N{OWL}"


WITHOUT_SCRIPT = pytest.param(
    False, id="without script", marks=pytest.mark.slow("a second journey in a browser")
)


@pytest.mark.parametrize("has_script", [pytest.param(True, id="with script"), WITHOUT_SCRIPT])
def test_new_user_signs_up_works_and_signs_out(
    site: Site, open_page: OpenPage, browser_errors: BrowserErrors, has_script: bool
) -> None:
    page, email = open_page(java_script_enabled=has_script), site.new_email()
    sign_up(site, page, email)
    create_item(page)
    if has_script:
        leave_changed_form(page)
    browser_errors.expected.add(409)
    edit_in_two_tabs(page)
    search(page)
    export(page)
    change_elsewhere(site, page, email, has_script)
    sign_out_and_go_back(page)


@needs("items/live.py")
@pytest.mark.slow("another journey in a browser")
def test_pages_work_below_the_prefix_of_a_proxy(
    databases: Databases, template_url: str, open_page: OpenPage, browser_errors: BrowserErrors
) -> None:
    url = databases.create(template_url)
    with (
        serving(url, ROOT_PATH="/shop") as api,
        relaying("127.0.0.1", api.base_url.port or 0, "/shop") as proxy,
    ):
        servers.sign_up(api)
        browser_errors.host = f"127.0.0.1:{proxy.port}"
        page = open_page(base_url=f"http://{browser_errors.host}")
        page.goto("/shop/items")
        page.get_by_label("Email").fill("ann@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_text("No items yet")).to_be_visible()
        assert api.post("/api/v1/items", json={"name": "Lamp", "price": 1}).status_code == 201
        expect(page.get_by_role("link", name="Lamp")).to_be_visible()  # by the live feed
        page.locator(".menu summary").click()
        page.get_by_role("button", name="Dark theme").click()
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        paths = {cookie["name"]: cookie["path"] for cookie in page.context.cookies()}
        own = {"theme": "/shop/", "time_zone": "/shop/"}
        assert paths == {"auth_session": "/shop", "device": "/shop"} | own
        page.close()  # Otherwise it would miss the server.
    databases.drop(url)


def sign_up(site: Site, page: Page, email: str) -> None:
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text("Account created.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    expect(page.get_by_text(f"Confirm {email}.")).to_be_visible()
    page.goto(site.link_mailed_to(email))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Email address confirmed.")).to_be_visible()
    expect(page.get_by_text(f"Confirm {email}.")).to_have_count(0)
    page.goto("/items")


def create_item(page: Page) -> None:
    page.get_by_role("link", name="New item").click()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Lamp")
    page.get_by_label("Price").fill("$1,999.90")
    page.get_by_label("Description").fill("Brass")
    page.get_by_label("On offer").check()
    page.get_by_role("button", name="Save").dblclick()
    expect(page.get_by_text("“Lamp” created.")).to_be_visible()
    expect(page.locator("tbody tr")).to_contain_text(["Lamp"])
    expect(page.locator("tbody .price")).to_have_text(["$1,999.90"])


def leave_changed_form(page: Page) -> None:
    page.goto("/items/new")
    page.get_by_label("Name").fill("Never saved")
    with page.expect_event("dialog") as asked:
        page.get_by_role("link", name="Cancel").click()
    assert asked.value.type == "beforeunload"
    expect(page.locator("tbody tr")).to_contain_text(["Lamp"])


def edit_in_two_tabs(page: Page) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto("/items")
        tab.get_by_role("link", name="Lamp").click()
    other.get_by_label("Name").fill("Lamp of the other tab")
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_text("“Lamp of the other tab” saved.")).to_be_visible()
    other.close()
    page.get_by_label("Name").fill("Lamp of this tab")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This item has changed")
    expect(page.get_by_role("definition").first).to_have_text("Lamp of the other tab")
    expect(page.get_by_label("Name")).to_have_value("Lamp of this tab")
    page.get_by_role("button", name="Save your version").click()
    expect(page.get_by_text("“Lamp of this tab” saved.")).to_be_visible()
    for name in ("Lamp of the other tab", "Lamp of this tab"):
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text(f"“{name}” saved.")).to_be_visible()


def search(page: Page) -> None:
    page.get_by_label("Search").fill("nothing of the kind")
    page.get_by_label("Search").press("Enter")
    expect(page.get_by_text("No items match.")).to_be_visible()
    page.get_by_label("Search").fill("THIS TAB")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="Lamp of this tab")).to_be_visible()
    page.get_by_role("columnheader", name="Price").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Price")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(page.get_by_label("Search")).to_have_value("THIS TAB")


def export(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "items.csv"
    assert "Lamp of this tab,Brass,1999.90" in Path(download.value.path()).read_text()


def change_elsewhere(site: Site, page: Page, email: str, has_script: bool) -> None:
    page.goto("/items")
    with site.api(email) as api:
        (item,) = api.get("/items").json()["results"]
        changed = api.patch(f"/items/{item['id']}", json={"name": HOSTILE}).json()
    if not has_script:
        page.reload()
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    utc = datetime.fromisoformat(changed["updated_at"])
    shown = f"{utc:%b} {utc.day}, {utc.year}"
    if has_script:
        local = utc.astimezone(ZoneInfo("Asia/Seoul"))
        shown = f"{local:%b} {local.day}, {local.year}"
    expect(page.locator("tbody .changed time")).to_contain_text(shown)


def sign_out_and_go_back(page: Page) -> None:
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.go_back(wait_until="commit")  # A page from memory has no load event.
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome back")
    expect(page.get_by_text("onerror")).to_have_count(0)
