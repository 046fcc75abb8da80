"""Links between the pages. The `pages.py` of a slice declares its own in LINKS."""

from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import unquote

from starlette.responses import RedirectResponse, Response

from app.core.config import Settings
from app.core.security.principal import Principal

MAX_PATH = 2000


class Link(NamedTuple):
    label: str
    path: str
    audience: Literal["anyone", "guests", "members", "superusers"]
    about: str = ""  # on the front page
    order: int = 0
    place: Literal["bar", "menu", "front page"] = "bar"
    is_button: bool = False  # of a form that posts
    needs: str | None = None  # the setting that has to be on

    def is_current(self, path: str) -> bool:
        """Return whether a path is that of the link, or of a page below it."""
        return path == self.path or path.startswith(f"{self.path}/")

    def is_for(self, principal: Principal | None) -> bool:
        match self.audience:
            case "guests":
                return principal is None
            case "members":
                return principal is not None
            case "superusers":
                return principal is not None and (
                    principal.is_superuser or principal.lacks_second_factor
                )
            case "anyone":
                return True


class RecordLink(NamedTuple):
    """A link on the pages of each record of another resource, declared in RECORD_LINKS.

    `resource` is named as its templates name it, such as "item". The page takes the record's ID.
    The resource "account" is the account page, which also shows `about`; its pages take no ID.
    The pages that confirm the deletion of records show `on_delete`.
    """

    resource: str
    label: str
    page: str
    about: str = ""
    on_delete: str = ""


class Navigation:
    def __init__(
        self, settings: Settings, links: Iterable[Link], record_links: Iterable[RecordLink] = ()
    ) -> None:
        enabled = [link for link in links if not link.needs or getattr(settings, link.needs)]
        self._links = sorted(enabled, key=lambda link: link.order)
        self._record_links = [*record_links]

    def links_for(self, principal: Principal | None) -> list[Link]:
        return [link for link in self._links if link.is_for(principal)]

    def record_links(self, resource: str) -> list[RecordLink]:
        return [link for link in self._record_links if link.resource == resource]

    def label_of(self, path: str) -> str:
        """Return the label of the link to a path, or the path if no link leads there."""
        return next((link.label for link in self._links if link.path == path), path)

    @property
    def home(self) -> str:
        """Return the path of the first page for signed-in users."""
        return next(link.path for link in self._links if link.audience == "members")


class ResponseException(Exception):
    """An exception that carries the response, so that the transaction is rolled back.

    A response that is returned would commit it.
    """

    def __init__(self, response: Response) -> None:
        self.response = response


async def send_response(_: object, error: ResponseException) -> Response:
    return error.response


def redirect(url: str) -> Response:
    """Redirect to a page after a form is submitted, so that reloading does not submit it again."""
    return RedirectResponse(url, 303)


def local_path(path: str | None, root: str = "") -> str:
    """Return the path if it leads to a page of this site below `root`, else the front page.

    Browsers take `//host` and `/\\host` for another site, and drop control characters. These are
    refused in percent-encoded form as well, since a proxy may decode the path.
    """
    forms = [path or ""]
    for _ in range(2):
        forms.append(unquote(forms[-1]))
    is_below = path is not None and path.startswith(f"{root}/") and len(path) <= MAX_PATH
    return path if path and is_below and all(map(_is_local, forms)) else f"{root}/"


def _is_local(path: str) -> bool:
    return path[:1] == "/" and path[:2] != "//" and "\\" not in path and path.isprintable()
