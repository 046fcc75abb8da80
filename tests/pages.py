"""Find links, fields and texts on pages."""

import re
from html import unescape

import httpx

SCRIPT = '"><script>alert(1)</script>'


def href_of(page: httpx.Response, words: str) -> str:
    """Return where the only link with these words leads."""
    (href,) = re.findall(rf'<a[^>]* href="([^"]+)"[^>]*>{words}</a>', page.text)
    return unescape(href)


def action_of(page: httpx.Response) -> str:
    """Return where the only form in a card is sent."""
    (action,) = re.findall('<form class="card" method="post" action="([^"]*)"', page.text)
    return unescape(action)


def value_of(page: httpx.Response, name: str) -> str:
    """Return the value of the only field with this name, apart from hidden ones of other forms."""
    fields = re.findall(rf'<input[^>]* name="{name}"[^>]*>', page.text)
    (field,) = [each for each in fields if ' id="' in each] or fields
    (found,) = re.findall('value="([^"]*)"', field)
    return unescape(found)


def focused_fields(html: str) -> list[str]:
    """Return the names of the fields that have the focus when the page opens."""
    return re.findall(r'name="([^"]+)"[^>]* autofocus', html)
