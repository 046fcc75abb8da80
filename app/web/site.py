"""What the pages share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:  # they render pages, and so look for the site themselves
    from app.web.assets import Assets
    from app.web.navigation import Navigation
    from app.web.rendering import Templates


@dataclass(frozen=True, kw_only=True)
class Site:
    assets: "Assets"
    navigation: "Navigation"
    templates: "Templates"


def site_of(connection: HTTPConnection) -> Site:
    """Return what the pages of the application share that serves the request."""
    site: Site = connection.app.state.site
    return site
