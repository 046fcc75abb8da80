"""Error pages for browsers."""

import json
from collections.abc import Awaitable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import route_path
from app.core.http.problem_kinds import MEDIA_TYPE, PATH, kind_of_status
from app.core.security.policy_headers import API
from app.web.rendering import render


class ErrorPages:
    """Middleware that renders problem documents as HTML pages when a browser asks for a page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not wants_page(scope):
            return self.app(scope, receive, send)
        start: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = render_problem_page(scope, start, body)
                    await page(scope, receive, send)

        return self.app(scope, receive, send_page)


def wants_page(scope: Scope) -> bool:
    if route_path(scope).startswith(API):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def is_problem(start: Message) -> bool:
    content_type = Headers(raw=start["headers"]).get("content-type", "")
    return content_type == MEDIA_TYPE


def render_problem_page(scope: Scope, start: Message, body: bytes) -> Any:
    status, headers = start["status"], MutableHeaders(raw=list(start["headers"]))
    # The body of a response to HEAD is empty, and a long body may be compressed.
    readable = body and "content-encoding" not in headers
    general = kind_of_status(status)
    problem = json.loads(body) if readable else {"title": general.title, "type": general.type}
    for name in ("content-length", "content-type", "content-encoding"):
        del headers[name]
    page = render(
        Request(scope),
        "web/error.html",
        status=status,
        title=problem["title"],
        detail=problem.get("detail", ""),
        about=problem["type"] if problem["type"].startswith(PATH) else "",
        request_id=scope.get("request_id"),
        error_status=status,
    )
    page_headers = {name for name, _ in page.raw_headers}
    page.raw_headers.extend(field for field in headers.raw if field[0] not in page_headers)
    return page
