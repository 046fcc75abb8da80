"""Messages that a form leaves for the next page, which shows them once.

They are in a signed cookie, so that nobody can make this site say something by a link.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.config import Settings
from app.core.resources import resources_of
from app.core.security.cookies import Cookie
from app.core.security.keys import derive_key
from app.core.translation import gettext

SECONDS = 60
MAX_VALUE = 80  # characters, since browsers limit the size of a cookie


def flash(request: Request, url: str, text: str, **values: object) -> Response:
    """Redirect to a page that shows a text, which is marked for translation, with its values."""
    shortened = {name: shorten(str(value)) for name, value in values.items()}
    response, settings = RedirectResponse(url, 303), resources_of(request).settings
    content = urlsafe_b64encode(json.dumps([text, shortened]).encode())
    _cookie(settings).write(response, f"{content.decode()}.{_signature(settings, content)}")
    return response


def read_flash(request: Request) -> str:
    """Return the message for this page, or an empty text. A script that reloads gets none."""
    settings = resources_of(request).settings
    value = _cookie(settings).read(request)
    if not value or "X-Requested-With" in request.headers:
        return ""
    content, _, signature = value.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(settings, content.encode()).encode()):
        return ""
    text, values = json.loads(urlsafe_b64decode(content))
    return gettext(text, **values)


def forget_flash(request: Request, response: Response) -> None:
    _cookie(resources_of(request).settings).delete(response)


def shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _cookie(settings: Settings) -> Cookie:
    return Cookie("flash", SECONDS, settings)


def _signature(settings: Settings, content: bytes) -> str:
    key = derive_key(settings.signing_key, "flash")
    return hmac.digest(key, content, "sha256").hex()
