"""A list as a tool: searched while typing, selected, sorted, and used by the keyboard alone."""

import re
from datetime import datetime

import pytest
from playwright.sync_api import Page, Response, Route, expect

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, Site, sign_in
from tests.slices import needs
from tests.waiting import eventually

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def items(site: Site, member: str) -> list[int]:
    """Create 25 items, of which 5 are lamps, and return their IDs."""
    names = [f"Lamp {n}" if n < 5 else f"Desk {n}" for n in range(25)]
    with site.api(member) as api:
        body = [{"name": name, "price": str(n)} for n, name in enumerate(names)]
        return [item["id"] for item in api.post("/items/batch", json=body).json()]


def rows(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def expect_first_rows(page: Page, *names: str) -> None:
    """Wait for the rows of a page, of which the list arrives after its messages."""
    for number, name in enumerate(names):
        expect(page.locator("tbody th a").nth(number)).to_have_text(name)


def test_list_is_searched_while_typing(open_page: OpenPage, member: str, items: list[int]) -> None:
    page = open_page()
    sign_in(page, member)
    length = page.evaluate("history.length")
    search = page.get_by_label("Search")
    search.press_sequentially("lamp")
    expect(page.locator("[data-total]")).to_have_text("5 items")
    expect(page.get_by_role("status").filter(has_text="5 items")).to_have_count(1)
    expect(search).to_be_focused()
    expect(page).to_have_url("/items?q=lamp&sort=-id")
    assert page.evaluate("history.length") == length
    assert len(rows(page)) == 5
    page.get_by_role("link", name="Search: lamp").click()
    expect(page.locator("[data-total]")).to_have_text("25 items")
    expect(search).to_have_value("")


def test_older_answer_does_not_replace_a_newer_one(
    open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    held = list[Route]()
    page.route("**/items?q=desk*", lambda route: held.append(route))
    search = page.get_by_label("Search")
    search.fill("desk")
    expect(page).to_have_url("/items?q=desk&sort=-id")
    # Each call lets Playwright report a request. It comes from another process than the address.
    eventually(lambda: page.wait_for_function("() => true") and held)
    search.fill("lamp")
    expect(page.locator("[data-total]")).to_have_text("5 items")
    with page.expect_response("**/items?q=lamp&sort=name"):
        held[0].continue_()
        page.evaluate(
            "fetch('/items?q=lamp&sort=name', {headers: {'X-Requested-With': 'XMLHttpRequest'}})"
        )
    expect(page.locator("[data-total]")).to_have_text("5 items")
    assert all(name.startswith("Lamp") for name in rows(page))


@needs("items/live.py")
def test_change_from_elsewhere_is_announced_and_keeps_the_selection(
    site: Site, open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    with page.expect_websocket():
        page.reload()
    box = page.get_by_label("Select Desk 24")
    box.check()
    with site.api(member) as api:
        api.patch(f"/items/{items[23]}", json={"name": "Table"})
    expect(page.get_by_role("link", name="Table")).to_be_visible()
    expect(page.locator("tr.lit th a")).to_have_text(["Table"])
    expect(page.get_by_role("status").filter(has_text="The list has changed.")).to_have_count(1)
    expect(box).to_be_checked()
    expect(box).to_be_focused()


@needs("items/live.py")
def test_list_that_has_not_changed_stays_when_its_live_feed_opens(
    site: Site, open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    page.add_init_script("window.replaced = 0; addEventListener('list', () => replaced++)")
    with page.expect_response(is_fetched):
        page.reload()
    with site.api(member) as api:
        api.patch(f"/items/{items[23]}", json={"name": "Table"})
    expect(page.get_by_role("link", name="Table")).to_be_visible()
    assert page.evaluate("replaced") == 1


@needs("items/live.py")
def test_press_ends_on_the_list_on_which_it_began(
    site: Site, open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    with page.expect_response(is_fetched):
        page.reload()
        page.evaluate("window.table = document.querySelector('table')")
    box = page.get_by_label("Select Desk 24")
    box.focus()
    page.keyboard.down("Space")
    with page.expect_response(is_fetched) as changed, site.api(member) as api:
        api.patch(f"/items/{items[23]}", json={"name": "Table"})
    changed.value.finished()
    page.wait_for_function("() => true")  # It lets the page read the response.
    assert page.evaluate("table.isConnected")
    page.keyboard.up("Space")
    expect(box).to_be_checked()
    expect(page.get_by_role("link", name="Table")).to_be_visible()
    expect(box).to_be_checked()


def test_saved_record_lights_up_in_the_list_as_it_was(
    open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    page.get_by_label("Search").fill("lamp")
    expect(page.locator("[data-total]")).to_have_text("5 items")
    page.get_by_role("link", name="Lamp 2").click()
    page.get_by_label("Price").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url("/items?q=lamp&sort=-id")
    expect(page.locator("tr.lit th a")).to_have_text(["Lamp 2"])


def is_fetched(response: Response) -> bool:
    return response.request.resource_type == "fetch"


@pytest.mark.parametrize("has_script", [True, False], ids=["with script", "without script"])
def test_selected_items_are_deleted_and_restored_by_the_keyboard(
    open_page: OpenPage, member: str, items: list[int], has_script: bool
) -> None:
    page = open_page(java_script_enabled=has_script)
    sign_in(page, member)
    delete = page.get_by_role("button", name="Delete selected…")
    expect(delete).to_be_hidden()
    page.get_by_label("Select Desk 24").press("Space")
    page.get_by_label("Select Desk 22").press("Space")
    delete.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete what is selected?")
    expect(page.get_by_role("checkbox")).to_have_count(2)
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    expect(page.get_by_text("2 deleted.")).to_be_visible()
    expect_first_rows(page, "Desk 23", "Desk 21")
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_text("Restored.")).to_be_visible()
    expect_first_rows(page, "Desk 24", "Desk 23", "Desk 22", "Desk 21")


def test_checkbox_of_the_head_selects_the_page(
    open_page: OpenPage, member: str, items: list[int]
) -> None:
    page = open_page()
    sign_in(page, member)
    page.get_by_label("Select all").check()
    expect(page.locator("td.select input:checked")).to_have_count(20)
    page.get_by_label("Select Desk 24").uncheck()
    expect(page.get_by_label("Select all")).to_have_js_property("indeterminate", True)
    page.get_by_role("button", name="Delete selected…").click()
    expect(page.get_by_role("checkbox")).to_have_count(19)


def test_phone_shows_rows_at_once_and_sorts_by_hidden_columns(
    site: Site, open_page: OpenPage, member: str, items: list[int], browser_errors: BrowserErrors
) -> None:
    browser_errors.expected = {422, 409}
    page = open_page(viewport=PHONE)
    page.goto(site.link_mailed_to(member))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Email address confirmed.")).to_be_visible()
    sign_in(page, member)
    row = page.locator("tbody tr").first
    box = row.bounding_box()
    assert box
    assert box["y"] < 350
    expect(page.get_by_label("Sort by")).to_be_hidden()
    page.get_by_text("Filters", exact=True).press("Enter")
    page.get_by_label("Sort by").select_option("Changed, ascending")
    expect(page.locator("tbody th a").first).to_have_text("Lamp 0")
    check_accessibility(page)
    page.get_by_label("Min price").fill("x")
    page.get_by_label("Min price").press("Enter")
    expect(page.get_by_text("Enter a number such as 19.99.")).to_be_visible()
    check_accessibility(page)
    page.goto(f"/items/delete?select-{items[0]}=1&select-{items[1]}=1")
    check_accessibility(page)
    with site.api(member) as api:
        api.patch(f"/items/{items[1]}", json={"name": "Chair"})
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("This has changed meanwhile.")).to_be_visible()
    check_accessibility(page)


@needs("orders")
@pytest.mark.parametrize("locale", ["en-GB", "ko-KR"])
def test_rows_start_high_on_a_phone_below_the_reminder_to_confirm_the_address(
    site: Site, open_page: OpenPage, member: str, items: list[int], locale: str
) -> None:
    with site.api(member) as api:
        api.post("/orders", json={"lines": [{"item_id": items[0], "quantity": 1}]})
    page = open_page(viewport=PHONE, locale=locale)
    sign_in(page, member)
    for path in ("/items", "/orders"):
        page.goto(path)
        expect(page.locator("form.confirm")).to_contain_text(member)
        box = page.locator("tbody tr").first.bounding_box()
        assert box
        assert box["y"] < 350, path


def test_dates_of_the_chart_are_in_the_readers_variant_of_the_language(
    open_page: OpenPage, member: str
) -> None:
    page = open_page(locale="en-GB", timezone_id="America/New_York")
    sign_in(page, member)
    page.goto("/dashboard")
    for date in (page.locator(".ends time").first, page.locator(".chart th time").first):
        day = datetime.fromisoformat(str(date.get_attribute("datetime")))
        british = re.compile(rf"^{day.day} {day:%b}\w? {day.year}$")  # such as "3 Sept 2026"
        expect(date).to_have_text(british)
