"""Pages fit the width of a phone in any state: `gallery.py` has the states."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.conftest import only
from tests.databases import Databases
from tests.e2e.gallery import PHONE, Gallery, opened, states
from tests.slices import needs

pytestmark = [
    only("sqlite"),
    needs("items", "orders", "attachments", "webhooks", "passkeys", "identities", "graphql"),
    needs("lab", "pages.py", "admin.py"),
    pytest.mark.slow("it opens more than a hundred pages"),
]


@pytest.fixture
def gallery(databases: Databases, template_url: str, chromium: Browser) -> Iterator[Gallery]:
    with opened(databases, template_url, chromium) as gallery:
        yield gallery


@pytest.mark.parametrize("locale", ["en-GB", "ko-KR"])
def test_pages_fit_the_width_of_a_phone(gallery: Gallery, locale: str) -> None:
    with gallery.page(viewport=PHONE, locale=locale) as page:
        scrolls = {
            state: page.evaluate("document.documentElement.scrollWidth > innerWidth")
            for state in states(gallery, page)
        }
    assert [state for state, is_scrolled in scrolls.items() if is_scrolled] == []
    assert len(scrolls) > 90
