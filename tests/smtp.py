"""A mail server on the test's own event loop, that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Inbox:
    """`answers` are given to the next recipients; after them, each is taken."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.messages: list[EmailMessage] = []
        self.url = ""

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=True)


@asynccontextmanager
async def receiving() -> AsyncIterator[Inbox]:
    inbox, sessions = Inbox(), list[Any]()

    class Connection(SMTP):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            sessions.append(self._handler_coroutine)

    def connect() -> SMTP:
        return Connection(
            inbox,
            hostname="localhost",
            enable_SMTPUTF8=True,
            authenticator=inbox.authenticate,
            auth_require_tls=False,
        )

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    inbox.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield inbox
    # The clients have hung up, and the server has yet to see it.
    await asyncio.gather(*sessions, return_exceptions=True)
