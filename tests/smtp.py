"""A mail server in the event loop of the test, with configurable responses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Inbox:
    """The received mail.

    The next recipients get the `responses` in turn; all further recipients are accepted.
    """

    def __init__(self) -> None:
        self.responses: list[str] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.messages: list[EmailMessage] = []
        self.url = ""

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.responses:
            return self.responses.pop(0)
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
    # Wait until the server has noticed that the clients have disconnected.
    await asyncio.gather(*sessions, return_exceptions=True)
