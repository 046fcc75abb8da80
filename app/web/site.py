"""The resources that all pages share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:  # these modules import this one
    from app.web.assets import Assets
    from app.web.links import PagePaths
    from app.web.navigation import Navigation
    from app.web.parts import PagePart
    from app.web.rendering import Templates


@dataclass(frozen=True, kw_only=True)
class Site:
    """The static files, the navigation, the paths and the templates of the pages."""

    assets: "Assets"
    navigation: "Navigation"
    parts: "Sequence[PagePart]"
    paths: "PagePaths"
    templates: "Templates"


def site_of(connection: HTTPConnection) -> Site:
    """Return the site of the application that serves the request."""
    site: Site = connection.app.state.site
    return site
