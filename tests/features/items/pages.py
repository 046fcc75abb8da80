"""Find items on their pages."""

import re
from html import unescape

import httpx


def names_on(page: httpx.Response) -> list[str]:
    """Return the names of the items in the list."""
    assert page.status_code == 200, page.text
    return [
        unescape(name)
        for name in re.findall(r'(?s)<a href="/items/\d+/edit[?"][^>]*>(.*?)</a>', page.text)
    ]
