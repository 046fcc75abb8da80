"""The response to an unexpected error, which is a bug: 500."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.problem_kinds import KINDS
from app.core.http.problems import ProblemResponse, drop_tracebacks

error_logger = logging.getLogger("app.error")


class UnexpectedErrors:
    """Middleware that logs an unexpected error, and responds without its details.

    It is the innermost one, so that the response passes through all others (request ID, CORS).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def send_wrapper(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_wrapper)
        except Exception as error:
            if started:
                raise  # The server closes the connection, so that the response looks incomplete.
            error_logger.exception("Unexpected error")
            drop_tracebacks(error)
            detail = "Internal server error. Quote the request ID when you report it."
            problem = ProblemResponse(scope, KINDS["internal-error"], detail)
            await problem(scope, receive, send)
