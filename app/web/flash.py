"""Messages that a form leaves for the next page, which shows them once.

They are in a signed cookie, so that nobody can make this site say something by a link.

A message about a change can have the form that undoes it. It is sent as any other form, and so it
needs no rules of its own: it is validated, and refused if the record has changed again.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.config import Settings
from app.core.resources import resources_of
from app.core.security.cookies import Cookie
from app.core.security.keys import derive_key
from app.core.translation import gettext

SECONDS = 60
# Browsers limit the size of a cookie, and proxies that of all headers of a response.
MAX_VALUE = 80  # characters
MAX_UNDO = 1200  # bytes


class Undo(NamedTuple):
    """The form that undoes a change: the URL that it is sent to, and its fields."""

    url: str
    fields: Mapping[str, str]


class Notice(NamedTuple):
    text: str
    undo: Undo | None
    record: int | None
    """The ID of the record in the list, which the script lights up."""


def flash(
    request: Request,
    url: str,
    text: str,
    *,
    undo: Undo | None = None,
    record: int | None = None,
    **values: object,
) -> Response:
    """Redirect to a page that shows a text, which is marked for translation, with its values.

    The page offers to undo the change, if the form for that is small enough for a cookie.
    """
    shortened = {name: shorten(str(value)) for name, value in values.items()}
    response, settings = RedirectResponse(url, 303), resources_of(request).settings
    form = undo if undo and len(_dump(undo)) <= MAX_UNDO else None
    content = urlsafe_b64encode(_dump([text, shortened, form, record]))
    _cookie(settings).write(response, f"{content.decode()}.{_signature(settings, content)}")
    return response


def read_flash(request: Request) -> Notice | None:
    """Return the message for this page. A script that reloads gets none."""
    settings = resources_of(request).settings
    value = _cookie(settings).read(request)
    if not value or "X-Requested-With" in request.headers:
        return None
    content, _, signature = value.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(settings, content.encode()).encode()):
        return None
    # The process that left the message may be of an older version, which wrote less.
    text, values, form, record = [*json.loads(urlsafe_b64decode(content)), None, None][:4]
    return Notice(gettext(text, **values), Undo(*form) if form else None, record)


def forget_flash(request: Request, response: Response) -> None:
    _cookie(resources_of(request).settings).delete(response)


def shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _cookie(settings: Settings) -> Cookie:
    return Cookie("flash", SECONDS, settings)


def _signature(settings: Settings, content: bytes) -> str:
    key = derive_key(settings.signing_key, "flash")
    return hmac.digest(key, content, "sha256").hex()
