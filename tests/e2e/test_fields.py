"""Fields of forms: they are checked when they are left, and passwords can be shown."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import SUPERUSER, BrowserErrors, OpenPage, Site, sign_in
from tests.slices import needs

pytestmark = [only("sqlite"), pytest.mark.slow("it drives a browser")]
SEND = "main form button:not([type])"


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    page = open_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.goto("/signup")
    return page


def expect_error(page: Page, id_: str, text: str) -> None:
    expect(page.locator(f"#{id_}-error")).to_have_text(text)
    expect(page.locator(f"#{id_}")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"#{id_}")).to_have_attribute("aria-describedby", f"{id_}-error")
    expect(page.locator(f".wrong #{id_}")).to_have_count(1)


def expect_no_error(page: Page, id_: str) -> None:
    expect(page.locator(f"#{id_}-error, .wrong #{id_}, #{id_}[aria-invalid]")).to_have_count(0)


def type_and_delete(page: Page, id_: str) -> None:
    page.locator(f"#{id_}").press("x")
    page.keyboard.press("Backspace")


def send(page: Page) -> None:
    with page.expect_navigation():
        page.locator(SEND).click()


def wait_for_frames(page: Page) -> None:
    """Wait until the script would have shown an error."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize(
    ("locale", "missing", "invalid", "short"),
    [
        (
            "en-US",
            "Please fill this in.",
            "Enter an email address such as ann@example.com.",
            "At least 10 characters.",
        ),
        (
            "ko-KR",
            "입력하세요.",
            "ann@example.com과 같은 이메일 주소를 입력하세요.",
            "10자 이상이어야 합니다.",
        ),
    ],
    ids=["English", "Korean"],
)
def test_left_field_shows_the_error_of_the_server_until_it_is_right(
    open_page: OpenPage,
    browser_errors: BrowserErrors,
    locale: str,
    missing: str,
    invalid: str,
    short: str,
) -> None:
    browser_errors.expected = {422}
    page = open_page(locale=locale)
    page.goto("/signup")
    type_and_delete(page, "email")
    expect_no_error(page, "email")
    page.keyboard.press("Tab")
    expect_error(page, "email", missing)
    page.locator("#email").fill("ann@")
    page.locator("#password").fill("short")
    expect_error(page, "email", invalid)
    page.keyboard.press("Tab")
    wait_for_frames(page)
    expect_no_error(page, "password")  # The button that shows it belongs to it.
    page.locator("#full_name").focus()
    expect_error(page, "password", short)
    expect(page.locator("#password-hint")).to_be_hidden()
    check_accessibility(page)
    send(page)  # The server says the same.
    expect_error(page, "email", invalid)
    expect_error(page, "password", short)
    page.locator("#email").fill("")
    send(page)
    expect_error(page, "email", missing)
    page.locator("#email").fill("ann@example.com")
    expect_no_error(page, "email")
    expect(page.locator("#email")).not_to_have_attribute("aria-describedby", "email-error")
    page.locator("#password").press_sequentially("long enoug")
    expect_no_error(page, "password")
    expect(page.locator("#password-hint")).to_be_visible()
    expect(page.locator("#password")).to_have_attribute("aria-describedby", "password-hint")


def test_fields_that_are_only_tabbed_through_show_nothing(page: Page) -> None:
    page.locator("#full_name").focus()
    for _ in range(5):
        page.keyboard.press("Tab")
    type_and_delete(page, "password")
    page.locator("#email").focus()
    expect_error(page, "password", "Please fill this in.")
    expect_no_error(page, "email")


def test_address_that_the_server_takes_shows_nothing(page: Page) -> None:
    page.locator("#email").fill("안녕@example.com")
    type_and_delete(page, "password")
    page.locator("#full_name").focus()
    expect_error(page, "password", "Please fill this in.")
    expect_no_error(page, "email")


def test_pressed_button_does_not_move_and_sends_without_an_error(page: Page) -> None:
    # The page stays, as when the answer takes long.
    page.evaluate("addEventListener('submit', (event) => event.preventDefault())")
    page.locator("#email").fill("ann@")
    page.locator(SEND).hover()
    page.mouse.down()
    wait_for_frames(page)
    expect_no_error(page, "email")
    page.mouse.up()
    expect(page.locator(SEND)).to_be_disabled()
    expect_no_error(page, "email")


def test_field_is_checked_after_a_press_elsewhere(page: Page) -> None:
    page.locator("#email").fill("ann@")
    page.get_by_role("heading", level=1).click()
    expect_error(page, "email", "Enter an email address such as ann@example.com.")


def test_pressed_link_shows_no_error(page: Page) -> None:
    page.locator("#email").fill("ann@")
    page.get_by_role("main").get_by_role("link", name="Sign in").hover()
    page.mouse.down()
    wait_for_frames(page)
    page.evaluate(
        "addEventListener('pagehide', () => {"
        " sessionStorage.errors = document.querySelectorAll('.error').length })"
    )
    page.mouse.up()
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome back")
    assert page.evaluate("sessionStorage.errors") == "0"


@needs("items", "pages.py")
def test_error_of_the_server_goes_when_the_value_is_another(
    page: Page, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {422}
    sign_in(page, member)
    page.goto("/items/new")
    page.locator("#name").fill("Lamp")
    page.locator("#price").fill("cheap")
    send(page)
    number = "Enter a number such as 19.99."
    expect_error(page, "price", number)
    page.keyboard.press("Tab")
    page.locator("#price").press("End")
    page.keyboard.type("s")
    expect_no_error(page, "price")
    page.locator("#price").fill("")
    page.locator("#name").focus()
    expect_error(page, "price", "Please fill this in.")
    page.locator("#price").fill("cheap")
    expect_error(page, "price", number)
    page.locator("#price").fill("1")
    expect_no_error(page, "price")


def test_fields_of_the_admin_are_checked(open_page: OpenPage) -> None:
    page = open_page()
    sign_in(page, SUPERUSER)
    page.goto("/admin/user/create")
    page.locator("#email").fill("ann")
    page.locator("#password").fill("short")
    page.locator("#full_name").focus()
    expect_error(page, "email", "Enter an email address such as ann@example.com.")
    expect_error(page, "password", "At least 10 characters.")
    check_accessibility(page)


def test_number_out_of_its_range_shows_the_limit(page: Page, member: str) -> None:
    sign_in(page, member)
    page.goto("/account/api-keys/new")
    for value, text in (
        ("0", "At least 1."),
        ("366", "At most 365."),
        ("1.5", "Enter a whole number such as 2."),
    ):
        page.locator("#expires_in_days").fill(value)
        page.locator("#name").focus()
        expect_error(page, "expires_in_days", text)
    page.locator("#expires_in_days").fill("30")
    expect_no_error(page, "expires_in_days")


def test_password_is_shown_by_the_keyboard_and_sent_as_a_password(site: Site, page: Page) -> None:
    page.evaluate("""addEventListener("formdata", ({ target }) => {
        sessionStorage.type = target.elements.password.type;
    })""")
    email, field = site.new_email(), page.locator("#password")
    page.locator("#email").fill(email)
    field.press_sequentially(PASSWORD)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show Password")).to_be_focused()
    page.keyboard.press("Enter")
    expect(field).to_have_attribute("type", "text")
    expect(field).to_have_attribute("autocomplete", "new-password")
    expect(page.get_by_role("button", name="Hide Password")).to_be_focused()
    check_accessibility(page)
    page.keyboard.press("Space")
    expect(field).to_have_attribute("type", "password")
    page.keyboard.press("Space")
    expect(field).to_have_attribute("type", "text")
    field.press("Enter")
    expect(page.get_by_text("Account created.")).to_be_visible()
    assert page.evaluate("sessionStorage.type") == "password"
    with site.api(email) as api:
        assert api.get("/users/me").json()["email"] == email


def test_shown_password_is_no_unsaved_change(page: Page, member: str) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.type))
    sign_in(page, member)
    page.goto("/account")
    page.locator("#email-current_password").fill(PASSWORD)
    page.get_by_role("button", name="Show Current password").first.click()
    expect(page.locator("#email-current_password")).to_have_attribute("type", "text")
    page.get_by_role("link", name="Delete account…").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Delete")
    assert asked == []


def test_pages_without_script_have_neither(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/signup")
    expect(page.locator(".password > button")).to_be_hidden()
    page.locator("#email").fill("ann@")
    page.locator("#password").fill("short")
    page.locator("#full_name").focus()
    expect(page.locator(".error")).to_have_count(0)
