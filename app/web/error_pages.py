"""Error pages for browsers."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import route_path
from app.core.errors import AppError
from app.core.http.problem_kinds import KINDS, MEDIA_TYPE, PATH, kind_of_status
from app.core.security.policy_headers import API
from app.core.translation import gettext, mark
from app.web.forms import translate_error
from app.web.rendering import render

# For people. The details of problem documents are for programs and their developers.
TEXTS = {
    400: mark("The server does not understand this request."),
    401: mark("Sign in to see this page."),
    404: mark("There is nothing at this address, or nothing that you can see."),
    405: mark("This page cannot be opened this way."),
    408: mark("Your request did not arrive in time."),
    413: mark("You sent more than the server accepts."),
    422: mark("The address of this page has a part that is not valid."),
    500: mark("Something went wrong on our side. What you sent may not have been saved."),
    503: mark(
        "This does not work at the moment. What you sent may not have been saved. Try again in a "
        "moment."
    ),
}
# What is tried again may succeed then.
TEMPORARY = {408, 429, 500, 503}
FindVisitor = Callable[[Request], Awaitable[object]]


class ErrorPages:
    """Middleware that renders problem documents as HTML pages when a browser asks for a page.

    `find_visitor` notes in the request who is signed in, for a page that no endpoint has rendered.
    """

    def __init__(self, app: ASGIApp, find_visitor: FindVisitor) -> None:
        self.app = app
        self._find_visitor = find_visitor

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not wants_page(scope):
            return self.app(scope, receive, send)
        start: Message | None = None

        async def send_page(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and is_problem(message):
                start = message
            elif start is None:
                await send(message)
            elif not message.get("more_body"):
                page = await self._render(Request(scope), start)
                await page(scope, receive, send)

        return self.app(scope, receive, send_page)

    async def _render(self, request: Request, start: Message) -> Any:
        if start["status"] < 500 and not hasattr(request.state, "principal"):
            with suppress(AppError):  # The page can be shown to anybody.
                await self._find_visitor(request)
        return render_error_page(request, start)


def wants_page(scope: Scope) -> bool:
    if route_path(scope).startswith(API):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def is_problem(start: Message) -> bool:
    content_type = Headers(raw=start["headers"]).get("content-type", "")
    return content_type == MEDIA_TYPE


def about(type_: str, status: int) -> str:
    """Return the path of the page about an error that the visitor can do something about."""
    return type_ if status < 500 and type_.startswith(PATH) else ""


def render_error_page(request: Request, start: Message) -> Any:
    status, headers = start["status"], MutableHeaders(raw=list(start["headers"]))
    for name in ("content-length", "content-type", "content-encoding"):
        del headers[name]
    kind, error = kind_of_status(status), request.scope.get("error")
    if status in TEXTS or error is None:
        text = gettext(TEXTS.get(status, kind.summary))
    else:
        text = translate_error(error)
    page = render(
        request,
        "web/error.html",
        status=status,
        title=gettext(kind.title),
        text=text,
        about=about(kind.type if error is None else KINDS[error.kind].type, status),
        may_try_again=status in TEMPORARY and request.method in ("GET", "HEAD"),
        has_bar=hasattr(request.state, "principal"),
        request_id=request.scope.get("request_id"),
        error_status=status,
    )
    page_headers = {name for name, _ in page.raw_headers}
    page.raw_headers.extend(field for field in headers.raw if field[0] not in page_headers)
    return page
