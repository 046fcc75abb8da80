"""The page of attachments in a browser, where a script sends the file."""

from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import only
from tests.e2e.accessibility import check_accessibility
from tests.e2e.conftest import BrowserErrors, OpenPage, Site, sign_in
from tests.slices import needs

pytestmark = [needs("attachments"), only("sqlite"), pytest.mark.slow("it drives a browser")]


def choose(page: Page, content: bytes) -> None:
    file = {"name": "lamp.png", "mimeType": "image/png", "buffer": content}
    page.get_by_label("File").set_input_files(file)  # type: ignore[arg-type]  # It is a FilePayload.
    page.get_by_role("button", name="Upload").click()


def png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (640, 320), "teal").save(file, "PNG")
    return file.getvalue()


def test_file_is_uploaded_by_the_script_and_a_refused_one_keeps_the_page(
    site: Site, open_page: OpenPage, browser_errors: BrowserErrors, member: str
) -> None:
    browser_errors.expected = {422}
    page = open_page(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    sign_in(page, member)
    with site.api(member) as api:
        item = api.post("/items", json={"name": "Lamp", "price": "19.99"}).json()
    page.goto(f"/items/{item['id']}/edit")
    page.get_by_role("link", name="Attachments").click()
    choose(page, b"MZ\x90\x00")
    expect(page.get_by_role("alert")).to_contain_text("Files of this type are not accepted.")
    choose(page, png())
    expect(page.get_by_text("“lamp.png” uploaded.")).to_be_visible()
    expect(page.get_by_role("link", name="lamp.png", exact=True)).to_be_visible()
    check_accessibility(page)
    page.get_by_role("link", name="Delete lamp.png").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete lamp.png?")
    check_accessibility(page)
