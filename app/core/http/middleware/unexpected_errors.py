"""The last resort: what nobody expected is a 500."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.problems import ProblemResponse, drop_tracebacks

error_logger = logging.getLogger("app.error")


class UnexpectedErrors:
    """A bug is a 500 without a word of its inside, and one log line with all of it.

    Innermost, so that the answer gets what every other gets (the request id, CORS).
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
                raise  # the server logs it and hangs up: half an answer must not look whole
            error_logger.exception("Unexpected error")
            drop_tracebacks(error)
            problem = ProblemResponse(
                scope, 500, "Internal server error. Quote the request ID when you report it."
            )
            await problem(scope, receive, send)
