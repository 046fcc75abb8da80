"""The admin: sqladmin's pages over the slices' services, for superusers, who are signed in as in
all other pages. Each slice's views are in its `admin.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.accounts.dependencies import get_member, get_visitor
from app.core.errors import Forbidden
from app.core.resources import Resources, resources_of
from app.core.security.policy_headers import content_security_policy
from app.discovery import discover
from app.web.admin_site.site import Admin
from app.web.admin_site.view import AdminView
from app.web.navigation import Link

PATH = "/admin"
STATICS = f"{PATH}/statics/"
# The one exception: the pictures in its style sheet, and the font of its icons.
POLICY = content_security_policy(img_src="'self' data:", font_src="'self'")
LINKS = [
    Link("Admin", PATH, "superusers", order=9),
    Link("Admin", PATH, "anyone", "Manage the data. For superusers.", order=7, is_in_bar=False),
]


def add_admin(app: FastAPI) -> None:
    admin = Admin(Reading(app), PATH, app.title)
    for module in discover("admin"):
        for view in module.VIEWS:
            # sqladmin keeps what belongs to an application on the class: each gets its own.
            admin.add_view(cast("type[AdminView]", type(view)(view.__name__, (view,), {})))
    admin.share(asset=lambda name: app.state.site.assets.url(name))
    app.state.admin = admin
    guard = [Middleware(SuperusersOnly)]
    app.router.routes.append(Route(PATH, admin.index, middleware=guard))
    # The pages without sqladmin's application around them: errors are answered as everywhere else.
    app.router.routes.append(Mount(PATH, routes=admin.pages(), name="admin", middleware=guard))


class Reading:
    """What sqladmin takes for a sessionmaker. It writes nothing: SQLite would refuse."""

    class_ = AsyncSession

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def configure(self, **options: Any) -> None: ...

    @asynccontextmanager
    async def __call__(self, **options: Any) -> AsyncIterator[AsyncSession]:
        resources: Resources = self._app.state.resources
        async with resources.database.reading() as session:
            yield session


class SuperusersOnly:
    """Asks the database at each request: who is no superuser any more is out. The library's own
    files are anybody's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(STATICS):
            return await self.app(scope, receive, send)
        request = Request(scope)
        accounts = resources_of(request).accounts
        visitor = await get_visitor(request, accounts.session_cookie, accounts.browsers)
        if not (await get_member(request, visitor)).is_superuser:
            raise Forbidden("The admin is for superusers.")

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Cache-Control"] = "no-store"  # after a sign-out, "back" shows nothing
            await send(message)

        await self.app(scope, receive, send_with_policy)
