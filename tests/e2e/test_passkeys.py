"""Passkeys in a browser, with its virtual authenticator (the WebAuthn domain of CDP)."""

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import PASSWORD, only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, Site, sign_in
from tests.slices import needs

pytestmark = [
    needs("passkeys", "items", "pages.py"),
    only("sqlite"),
    pytest.mark.slow("it drives a browser"),
]

# As in browsers that have no functions that read and write JSON.
WITHOUT_JSON = """
delete PublicKeyCredential.parseCreationOptionsFromJSON;
delete PublicKeyCredential.parseRequestOptionsFromJSON;
delete PublicKeyCredential.prototype.toJSON;
"""
# The virtual device would answer as soon as the sign-in page is open.
WITHOUT_AUTOFILL = "delete PublicKeyCredential.isConditionalMediationAvailable;"


@pytest.fixture
def page(site: Site, open_page: OpenPage, browser_errors: BrowserErrors) -> Page:
    """Return a page of a browser whose device verifies its user. A passkey takes a host name."""
    browser_errors.host = browser_errors.host.replace("127.0.0.1", "localhost")
    page = open_page(
        base_url=site.url.replace("127.0.0.1", "localhost"),
        viewport={"width": 320, "height": 640},
        reduced_motion="reduce",
    )
    add_device(page)
    return page


def add_device(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def confirm_address(site: Site, page: Page, email: str) -> None:
    page.goto(site.link_mailed_to(email).replace("127.0.0.1", "localhost"))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Email address confirmed.")).to_be_visible()


def make_passkey(page: Page) -> None:
    page.goto("/account")
    page.get_by_role("link", name="Passkeys…").click()
    page.get_by_role("link", name="New passkey…").click()
    check_accessibility(page)
    page.get_by_label("Name").fill("Phone")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")


def sign_out(page: Page) -> None:
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


@pytest.mark.parametrize("script", ["", WITHOUT_JSON], ids=["current", "older browser"])
def test_passkey_signs_in_alone_after_the_password_and_confirms(
    site: Site, page: Page, member: str, script: str
) -> None:
    page.add_init_script(script + WITHOUT_AUTOFILL)
    sign_in(page, member)
    confirm_address(site, page, member)
    make_passkey(page)
    sign_out(page)

    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("body[data-private]")).to_be_visible()
    page.goto("/confirm?next=/account/passkeys")
    check_accessibility(page)
    page.get_by_role("button", name="Confirm with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Passkeys")
    check_accessibility(page)
    sign_out(page)

    check_accessibility(page)
    page.get_by_label("Email").fill(member)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Enter a code")
    check_accessibility(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("body[data-private]")).to_be_visible()


def test_browser_offers_passkeys_in_the_field_of_the_address(
    site: Site, page: Page, member: str
) -> None:
    """The device answers at once here, as if the user had chosen the passkey in the field."""
    sign_in(page, member)
    confirm_address(site, page, member)
    make_passkey(page)
    page.context.clear_cookies()
    page.goto("/login?next=/account/passkeys")
    expect(page.get_by_role("heading", level=1)).to_have_text("Passkeys")


def test_device_that_has_a_passkey_makes_no_second_one_and_passkeys_are_renamed(
    site: Site, page: Page, member: str
) -> None:
    sign_in(page, member)
    confirm_address(site, page, member)
    make_passkey(page)
    page.goto("/account/passkeys/new")
    page.get_by_role("button", name="Make the passkey").click()  # Its name is missing.
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_label("Name").fill("Phone")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("alert")).to_have_text(
        "This device has a passkey of this account already."
    )
    page.get_by_label("Name").fill("")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_text("Rename").click()
    page.get_by_label("New name").fill("Watch")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Renamed to “Watch”.")).to_be_visible()
    page.get_by_role("button", name="Remove Watch").click()
    expect(page.get_by_text("Passkey removed.")).to_be_visible()


def test_page_at_another_address_names_the_one_where_passkeys_work(
    site: Site, open_page: OpenPage
) -> None:
    page = open_page()
    page.goto("/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("work at http://localhost:")


def test_page_without_a_script_has_no_button_that_does_nothing(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/login")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_have_count(0)
