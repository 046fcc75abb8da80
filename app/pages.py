"""The pages: the shell of `app/web`, and the `pages` of each slice.

They are optional: docs/adding-a-resource.md says how to delete them.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fastapi import Depends, FastAPI, Request

from app.accounts.dependencies import get_visitor
from app.accounts.pages.sign_in import redirect_to_sign_in
from app.core.about import DESCRIPTION, NAME
from app.core.config import Settings
from app.core.errors import NotSignedIn
from app.core.resources import resources_of
from app.discovery import discover, folders, optional
from app.web import api_docs, assets, home, languages, problems
from app.web.assets import Assets
from app.web.dashboard import Dashboard
from app.web.error_pages import ErrorPages
from app.web.links import PagePaths
from app.web.navigation import Navigation, ResponseException, send_response
from app.web.rendering import Templates
from app.web.site import Site
from app.web.time_zone import set_time_zone


def add_pages(app: FastAPI) -> None:
    modules: list[Any] = [*pages(app.state.settings)]
    if admin := optional("app.admin"):
        modules.append(admin)
    if panels := [each for module in modules for each in getattr(module, "DASHBOARD", ())]:
        modules.append(Dashboard(panels))
    if app.state.settings.has_docs:
        modules.append(api_docs)
    app.state.site = build_site(app.state.settings, modules)
    app.state.warm_up.append(app.state.site.templates.compile)
    app.add_middleware(ErrorPages, find_visitor=find_visitor)
    # Starlette types a handler as one of any Exception.
    app.add_exception_handler(ResponseException, send_response)  # type: ignore[arg-type]
    app.add_exception_handler(NotSignedIn, redirect_to_sign_in)  # type: ignore[arg-type]
    app.include_router(assets.router)
    for module in (home, languages, problems, *modules):
        # Every page shows the visitor in its navigation bar.
        app.include_router(
            module.router, dependencies=[Depends(get_visitor), Depends(set_time_zone)]
        )


async def find_visitor(request: Request) -> None:
    """Note in the request who is signed in, where no endpoint has."""
    accounts = resources_of(request).accounts
    await get_visitor(request, accounts.session_cookie, accounts.browsers)


def pages(settings: Settings) -> Iterator[ModuleType]:
    """Yield the slices' `pages` modules, except those whose setting in NEEDS is off."""
    for module in discover("pages"):
        needs = getattr(module, "NEEDS", None)
        if needs is None or getattr(settings, needs):
            yield module


def build_site(settings: Settings, modules: list[Any]) -> Site:
    """Read the static files and collect the links of the navigation bar."""
    files = Assets(folders("static"))
    links = (link for module in modules for link in getattr(module, "LINKS", ()))
    record_links = (link for module in modules for link in getattr(module, "RECORD_LINKS", ()))
    navigation = Navigation(settings, links, record_links)
    extra = (module.TEMPLATES for module in modules if hasattr(module, "TEMPLATES"))
    templates = Templates(
        [*folders("templates"), *extra],
        settings.currency,
        site=NAME,
        description=DESCRIPTION,
        links_for=navigation.links_for,
        record_links=navigation.record_links,
    )
    paths = PagePaths(module.router for module in (assets, home, languages, problems, *modules))
    parts = [part for module in modules for part in getattr(module, "PAGE_PARTS", ())]
    return Site(assets=files, navigation=navigation, parts=parts, paths=paths, templates=templates)
