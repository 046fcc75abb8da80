from http.cookies import SimpleCookie

import pytest
from starlette.responses import Response

from app.core.security.cookies import Cookie
from tests.conftest import make_settings


@pytest.mark.parametrize(
    ("public_url", "root_path", "name", "path"),
    [
        ("http://example.com", "", "session", "/"),
        ("http://example.com", "/shop", "session", "/shop"),
        ("https://example.com", "", "__Host-session", "/"),
        # Browsers refuse __Host- with another path than /.
        ("https://example.com", "/shop", "__Secure-session", "/shop"),
    ],
)
def test_cookie_is_sent_below_the_prefix_only(
    public_url: str, root_path: str, name: str, path: str
) -> None:
    settings = make_settings(
        "sqlite+aiosqlite:///app.db", public_url=public_url, root_path=root_path
    )
    cookie = Cookie("session", 60, settings)
    for change in (lambda response: cookie.write(response, "x"), cookie.delete):
        response = Response()
        change(response)
        morsel = SimpleCookie(response.headers["Set-Cookie"])[name]
        assert (morsel["path"], bool(morsel["secure"])) == (path, public_url.startswith("https"))
