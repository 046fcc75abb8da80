import asyncio
import logging
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from email_validator import EmailNotValidError
from jinja2 import TemplateSyntaxError, UndefinedError

from app.core.errors import Unavailable
from app.core.jobs.mail import Mailer, MailRefused
from app.core.security.rate_limit import RateLimiter
from tests.conftest import make_settings
from tests.databases import ROOT
from tests.isolation import DEADLINE_SECONDS
from tests.smtp import Inbox, receiving

FOLDER = ROOT / "tests/greeter/templates/mail"
TO = "ann@example.com"
CONTEXT: dict[str, Any] = {"name": "Ann", "token": "t0ken"}


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with receiving() as inbox:
        yield inbox


async def make_mailer(smtp_url: str | None, **changes: Any) -> Mailer:
    settings = make_settings("sqlite+aiosqlite:///x", smtp_url=smtp_url, **changes)
    limiter = RateLimiter(None, b"key")
    return await asyncio.to_thread(Mailer, settings, [FOLDER], limiter)  # It reads the templates.


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


async def test_mail_has_headers_and_two_bodies(inbox: Inbox) -> None:
    mailer = await make_mailer(
        inbox.url, public_url="https://example.com/", mail_from="Us <us@a.com>"
    )
    await mailer.send(TO, "greeting", name="Ann & Bob", token="t0ken")
    (message,) = inbox.messages
    assert message["Subject"] == "A greeting to Ann & Bob"
    assert (message["From"], message["To"]) == ("Us <us@a.com>", TO)
    assert message["Message-ID"].endswith("@a.com>")
    assert message["Date"].datetime
    assert message.get_content_type() == "multipart/alternative"
    assert part(message, "plain").startswith("Hello Ann & Bob,\n")
    assert "https://example.com/greetings/t0ken" in part(message, "plain")
    assert "Hello Ann &amp; Bob," in part(message, "html")


async def test_line_break_does_not_add_headers(inbox: Inbox) -> None:
    for line_break in ("\r\n", "\n", "\r", "\u2028", "\x0b", "\x85"):
        mailer = await make_mailer(inbox.url)
        name = f"x{line_break}Bcc: eve@example.com"
        await mailer.send(TO, "greeting", name=name, token="")
        with pytest.raises(EmailNotValidError):
            await mailer.send(f"{TO}{line_break}Bcc: eve@example.com", "greeting", **CONTEXT)
    for address in (f"{TO}, eve@example.com", f"{TO}>\r\nRCPT TO:<eve@example.com", "ann", ""):
        with pytest.raises(EmailNotValidError):
            await mailer.send(address, "greeting", **CONTEXT)
    assert len(inbox.messages) == 6
    for message in inbox.messages:
        assert message["Bcc"] is None
        assert message["To"] == TO


async def test_internationalized_addresses_are_accepted(inbox: Inbox) -> None:
    mailer = await make_mailer(inbox.url)
    for to in ("ann@bücher.example", "straße@bücher.example"):
        await mailer.send(to, "greeting", name="Änne \U0001f989", token="")
    assert [str(message["To"]) for message in inbox.messages] == [
        "ann@xn--bcher-kva.example",
        "straße@xn--bcher-kva.example",
    ]
    assert inbox.messages[0]["Subject"] == "A greeting to Änne \U0001f989"


async def test_temporary_smtp_errors_raise_unavailable(inbox: Inbox) -> None:
    mailer = await make_mailer(inbox.url)
    inbox.responses = ["450 not now", "550 nobody here"]
    with pytest.raises(Unavailable):
        await mailer.send(TO, "greeting", **CONTEXT)
    with pytest.raises(MailRefused, match=r"\(550\)"):
        await mailer.send(TO, "greeting", **CONTEXT)
    with pytest.raises((Unavailable, OSError)):
        await (await make_mailer("smtp://127.0.0.1:1")).send(TO, "greeting", **CONTEXT)


async def test_hanging_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.jobs.mail.SMTP_SECONDS", 0.1)
    hung_up = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        mailer = await make_mailer(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises((Unavailable, OSError)):
            await mailer.send(TO, "greeting", **CONTEXT)
        await asyncio.wait_for(hung_up.wait(), DEADLINE_SECONDS)


async def test_password_may_contain_any_characters(inbox: Inbox) -> None:
    url = inbox.url.replace("//", "//us%40a.com:p%3A%2F%40%25ss@")
    await (await make_mailer(url)).send(TO, "greeting", **CONTEXT)
    assert inbox.logins == [(b"us@a.com", b"p:/@%ss")]


async def test_starttls_is_required(inbox: Inbox) -> None:
    mailer = await make_mailer(inbox.url.replace("smtp:", "smtp+starttls:"))
    with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
        await mailer.send(TO, "greeting", **CONTEXT)
    assert inbox.messages == []


async def test_mail_is_logged_without_a_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await (await make_mailer(None)).send(TO, "greeting", **CONTEXT)
    assert "http://127.0.0.1:8000/greetings/t0ken" in caplog.text
    assert TO in caplog.text


async def test_mail_is_not_logged_in_production(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    changes = {"environment": "production", "public_url": "https://example.com"}
    await (await make_mailer(None, **changes)).send(TO, "greeting", **CONTEXT)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "The mail greeting was not sent: SMTP_URL is not set",
    )


async def test_missing_template_variable_raises(inbox: Inbox) -> None:
    with pytest.raises(UndefinedError, match="token"):
        await (await make_mailer(inbox.url)).send(TO, "greeting", name="Ann")
    assert inbox.messages == []


def test_invalid_templates_stop_the_start(tmp_path: Path) -> None:
    settings = make_settings("sqlite+aiosqlite:///x")
    (tmp_path / "greeting.txt").write_text("another")
    with pytest.raises(ValueError, match="one name"):
        Mailer(settings, [FOLDER, tmp_path], RateLimiter(None, b"key"))
    (tmp_path / "wrong.txt").write_text("{{ name")
    with pytest.raises(TemplateSyntaxError):
        Mailer(settings, [tmp_path], RateLimiter(None, b"key"))


async def test_fourth_mail_of_a_kind_to_a_recipient_is_dropped(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailer = await make_mailer(inbox.url)
    calls = (mailer.send(to, "greeting", **CONTEXT) for to in [TO, TO.upper()] * 5)
    await asyncio.gather(*calls)
    assert len(inbox.messages) == 3
    await mailer.send("bob@example.com", "greeting", **CONTEXT)
    assert len(inbox.messages) == 4
    lines = [each.getMessage() for each in caplog.records if each.name == "app.mail"]
    assert lines == ["The mail greeting was dropped: its recipient had too many"] * 7


async def test_mail_that_the_server_did_not_take_is_not_counted(inbox: Inbox) -> None:
    mailer = await make_mailer(inbox.url)
    inbox.responses = ["450 Later"] * 5
    for _ in range(5):
        with pytest.raises(Unavailable):
            await mailer.send(TO, "greeting", **CONTEXT)
    for _ in range(3):
        await mailer.send(TO, "greeting", **CONTEXT)
    assert len(inbox.messages) == 3
