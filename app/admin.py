"""The admin at `/admin`: sqladmin's pages over the slices' services, for superusers.

They sign in as on all other pages. Each slice declares its views in its `admin.py`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.accounts.dependencies import get_member, get_visitor
from app.accounts.pages.confirm import require_confirmation
from app.accounts.pages.second_factor import require_second_factor
from app.core.context import route_path
from app.core.errors import Forbidden
from app.core.resources import Resources, resources_of
from app.core.security.policy_headers import content_security_policy
from app.core.translation import format_money, mark
from app.discovery import discover
from app.web.admin_site import jobs
from app.web.admin_site.links import link_by_key, views_referred_to
from app.web.admin_site.site import Admin
from app.web.admin_site.texts import AdminText
from app.web.admin_site.view import AdminView
from app.web.links import TEMPLATE_FUNCTIONS
from app.web.navigation import Link
from app.web.time_zone import set_time_zone

PATH = "/admin"
STATICS = f"{PATH}/statics/"
# sqladmin's style sheet contains images, and its icons are a font.
POLICY = content_security_policy(img_src="'self' data:", font_src="'self'")
LINKS = [
    Link(mark("Admin"), PATH, "superusers", order=9, place="menu"),
    Link(
        mark("Admin"),
        PATH,
        "anyone",
        mark("Manage the data. For superusers."),
        order=7,
        place="front page",
    ),
]


def add_admin(app: FastAPI) -> None:
    admin = Admin(ReadOnlySessions(app), PATH, app.title)
    found = [*views()]
    for view in found:
        # sqladmin stores state of an application on the class, so each one needs its own.
        create_class: Any = type(view)
        admin.add_view(create_class(view.__name__, (view,), own_attributes(view, found, app)))
    admin.share(app.state.settings.currency, **TEMPLATE_FUNCTIONS)
    app.state.warm_up.append(admin.compile)
    guard = [Middleware(SuperusersOnly)]
    app.router.routes.append(Route(PATH, admin.index, middleware=guard))
    # Mounting the pages without sqladmin's own application leaves errors to this application.
    app.router.routes.append(Mount(PATH, routes=admin.pages(), name="admin", middleware=guard))


def own_attributes(
    view: type[AdminView], views: Sequence[type[AdminView]], app: FastAPI
) -> dict[str, Any]:
    """Return the attributes of a view for an application: its names, and how it shows values."""
    references = views_referred_to(view, views)
    links = dict.fromkeys(references, link_by_key)
    money = {Decimal: partial(format_money, currency=app.state.settings.currency)}
    return {
        "name": AdminText(view.name),
        "name_plural": AdminText(view.name_plural),
        "references": references,
        "column_formatters": links | view.column_formatters,
        "column_formatters_detail": links | view.column_formatters_detail,
        "column_type_formatters": view.column_type_formatters | money,
        "column_type_formatters_detail": view.column_type_formatters_detail | money,
    }


def views() -> Iterator[type[AdminView]]:
    for module in (*discover("admin"), jobs):
        yield from module.VIEWS


class ReadOnlySessions:
    """A stand-in for the sessionmaker that sqladmin expects. Its sessions only read."""

    class_ = AsyncSession

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def configure(self, **options: Any) -> None: ...

    @asynccontextmanager
    async def __call__(self, **options: Any) -> AsyncIterator[AsyncSession]:
        resources: Resources = self._app.state.resources
        async with resources.database.reading() as session:
            yield session


def at_public_url(scope: Scope, public_url: str) -> Scope:
    """Return the scheme and header fields of a request that came to PUBLIC_URL itself.

    sqladmin's links are absolute, and a proxy that ends TLS need not be one that we believe.
    """
    public = urlsplit(public_url)
    others = [field for field in scope["headers"] if field[0] != b"host"]
    return {
        "scheme": public.scheme,
        "headers": [*others, (b"host", public.netloc.encode())],
    }


class SuperusersOnly:
    """Middleware that refuses everybody but superusers, except for sqladmin's static files.

    It checks the user at each request, so that removing the role takes effect at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route_path(scope).startswith(STATICS):
            return await self.app(scope, receive, send)
        request = Request(scope, receive)
        resources = resources_of(request)
        accounts = resources.accounts
        visitor = await get_visitor(request, accounts.session_cookie, accounts.browsers)
        principal = await get_member(visitor)
        require_second_factor(request, principal)
        if not principal.is_superuser:
            raise Forbidden("The admin is for superusers.")
        await require_confirmation(request, principal)
        await set_time_zone(request)
        if resources.settings.is_https:
            scope.update(at_public_url(scope, resources.settings.public_url))

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Cache-Control"] = (
                    "no-store"  # The back button must not show it after a sign-out.
                )
            await send(message)

        await self.app(scope, receive, send_with_policy)
