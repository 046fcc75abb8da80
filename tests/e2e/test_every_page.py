"""Every page, in both themes, is accessible and fits a small phone."""

import time

import pytest
from playwright.sync_api import Page, expect
from pyotp import TOTP

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, Site, sign_in

pytestmark = [only("sqlite"), pytest.mark.slow("axe takes a second for each page")]
ODD_NAMES = ("W" * 255, "\N{OWL}" * 255, "שלום עולם " * 25, "two\nlines", " ")


def check(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    check_accessibility(page)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page(viewport={"width": 320, "height": 640}, reduced_motion="reduce")


def test_pages_for_visitors_are_accessible(page: Page, browser_errors: BrowserErrors) -> None:
    browser_errors.expected = {404, 422}
    for path in (
        "/",
        "/signup",
        "/login?next=/items",
        "/forgot-password",
        "/undo-email?token=x",
        "/reset-password",
        "/reset-password?token=x",
        "/verify-email",
        "/verify-email?token=x",
        "/problems",
        "/problems/idempotency-in-progress",
        "/nowhere",
    ):
        page.goto(path)
        check(page)
    page.goto("/signup")
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text("Please fill this in.").first).to_be_visible()
    check(page)


def test_pages_for_users_are_accessible(
    site: Site, page: Page, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {404, 422, 409}
    sign_in(page, member)
    check(page)  # The list is empty.
    page.goto("/dashboard")
    check(page)
    with site.api(member) as api:
        for name in ODD_NAMES:
            body = {"name": name, "description": name, "price": "9999999999.99", "is_offer": True}
            item = api.post("/items", json=body).json()
        item_path = f"/items/{item['id']}"
        page.goto(f"{item_path}/edit")
        check(page)
        api.patch(item_path, json={"name": "Changed", "description": ODD_NAMES[0]})
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("has changed")
        check(page)
    for path in (
        "/dashboard",
        "/items",
        "/items?q=lamp&min_price=1&max_price=2&is_offer=true",
        "/items?q=nothing+of+the+kind",
        "/items?min_price=x&is_offer=perhaps",
        "/items?sort=colour",
        "/items/new",
        f"{item_path}/delete",
        f"/items/delete?select-{item['id']}=2",
        "/items/999999/edit",
        "/account",
        "/account/delete",
        "/account/api-keys/new",
        "/confirm",
    ):
        page.goto(path)
        check(page)
    for path, button in (("/items/new", "Save"), ("/account", "Set password")):
        page.goto(path)
        page.get_by_role("button", name=button, exact=True).last.click()
        expect(page.get_by_text("Please fill this in.").first).to_be_visible()
        check(page)


def test_pages_of_the_second_factor_are_accessible(
    site: Site, page: Page, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {422}
    sign_in(page, member)
    page.goto(site.link_mailed_to(member))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Email address confirmed.")).to_be_visible()
    page.goto("/account/second-factor")
    check(page)
    page.get_by_role("link", name="Set it up").click()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Please fill this in.")).to_be_visible()
    check(page)
    totp = TOTP(page.locator(".card code").inner_text().replace(" ", ""))
    page.get_by_label("Code", exact=True).fill(totp.now())
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    check(page)
    for path in ("/account/second-factor", "/confirm", "/confirm?factor=true"):
        page.goto(path)
        check(page)
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_label("Email").fill(member)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Enter a code")).to_be_visible()
    check(page)
    page.get_by_label("Code").fill(totp.at(time.time(), counter_offset=1))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


def test_pages_of_orders_are_accessible(
    site: Site, page: Page, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {404, 409, 422}
    sign_in(page, member)
    for path in ("/orders", "/orders/new"):
        page.goto(path)
        check(page)
    with site.api(member) as api:
        bodies = [{"name": name, "price": "9999999999.99"} for name in ODD_NAMES]
        items = [api.post("/items", json=body).json() for body in bodies]
        lines = [{"item_id": item["id"], "quantity": 1000} for item in items]
        note = {"note": ODD_NAMES[0]}
        draft, placed = (api.post("/orders", json={"lines": lines} | note).json() for _ in range(2))
        api.post(f"/orders/{placed['id']}/place")
        empty = api.post("/orders", json={}).json()
        for path in (
            "/orders",
            "/orders?status=shipped",
            "/orders?status=lost",
            "/orders/new",
            f"/orders/{draft['id']}",
            f"/orders/{placed['id']}",
            f"/orders/{empty['id']}",
            f"/orders/{draft['id']}/delete",
            "/orders/999999",
        ):
            page.goto(path)
            check(page)
        page.goto("/orders/new")
        page.get_by_role("textbox").first.fill("many")
        page.get_by_role("button", name="Create draft").click()
        expect(page.get_by_text("Enter a whole number such as 2.")).to_be_visible()
        check(page)
        page.goto(f"/orders/{draft['id']}")
        api.patch(f"/orders/{draft['id']}", json={"note": None})
        page.get_by_role("button", name="Place order").click()
        expect(page.get_by_text("This has changed since you opened it.")).to_be_visible()
        check(page)


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_long_prices_of_orders_are_shown_in_full_on_a_phone(
    site: Site, open_page: OpenPage, member: str, locale: str
) -> None:
    with site.api(member) as api:
        item = api.post("/items", json={"name": "Lamp", "price": "9999999999.99"}).json()
        lines = [{"item_id": item["id"], "quantity": 1000}]
        order = api.post("/orders", json={"lines": lines}).json()
    page = open_page(viewport={"width": 390, "height": 844}, locale=locale)
    sign_in(page, member)
    for path in ("/orders", f"/orders/{order['id']}"):
        page.goto(path)
        expect(page.locator("td.price").first).to_contain_text("$9,999,999,999,990.00")
        hidden = page.evaluate(
            "[...document.querySelectorAll('.table, .table .small')].filter((each) =>"
            " each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight)"
            ".map((each) => each.textContent)"
        )
        assert hidden == []
