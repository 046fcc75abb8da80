"""Mail that is rendered from the templates in the slices' `templates/mail` and sent by SMTP.

Without SMTP_URL, mails are written to the log, so that a developer can follow their links.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
from email_validator import validate_email
from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from limits import RateLimitItemPerHour

from app.core.config import Settings
from app.core.errors import TooManyRequests, Unavailable
from app.core.http.templates import MemoryBytecodeCache, compile_templates, translate_templates
from app.core.security.rate_limit import RateLimiter

SMTP_SECONDS = 20
PER_HOUR = 3  # A stranger who knows an address cannot fill its inbox.
logger = logging.getLogger("app.mail")


class MailRefused(aiosmtplib.SMTPException):
    """The mail server has refused a mail for good."""


class Mailer:
    """A mail client that reads and compiles its templates once, so that sending reads no file."""

    def __init__(self, settings: Settings, folders: Iterable[Path], limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._under_way = Counter[tuple[str, str]]()
        self._templates = Environment(
            loader=DictLoader(_read_templates(folders)),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            bytecode_cache=MemoryBytecodeCache(),
        )
        self._templates.globals["site_url"] = settings.site_url
        translate_templates(self._templates, settings.currency)
        compile_templates(self._templates)  # An invalid template stops the start.
        sender = settings.mail_from
        self._sender = Address(sender.name, *_split_address(sender.email))
        url = settings.smtp_url
        self._server = _smtp_options(url.get_secret_value()) if url else None
        self._logs_content = settings.environment in ("local", "test")

    async def send(
        self, to: str, template: str, *, per_hour: int = PER_HOUR, **context: Any
    ) -> None:
        """Send a mail that is rendered from `{template}.txt` and `{template}.html`.

        It is in the current language: a job sets that of the request that caused it.

        It is dropped when the recipient had `per_hour` of the template within the hour. Raise
        Unavailable or OSError when a retry may succeed, SMTPException when it would fail too, and
        ValueError when the address is invalid.
        """
        limit = RateLimitItemPerHour(per_hour)
        message = self._compose(to, template, context)
        key = (template, str(message["To"]).casefold())
        self._under_way[key] += 1  # of several at once, each counts the others
        try:
            remaining = (await self._limiter.status("mail-recipient", limit, *key)).remaining
            if remaining < self._under_way[key]:
                logger.warning("The mail %s was dropped: its recipient had too many", template)
                return
            await self._deliver(message, template)
            with suppress(TooManyRequests):  # counted now, since a failed mail is tried again
                await self._limiter.hit("mail-recipient", limit, *key)
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]

    async def _deliver(self, message: EmailMessage, template: str) -> None:
        if self._server is None:
            self._log(message, template)
            return
        try:
            await aiosmtplib.send(message, timeout=SMTP_SECONDS, **self._server)
        except aiosmtplib.SMTPException as error:
            if _is_temporary(error):
                raise Unavailable("The mail server cannot accept email at the moment.") from error
            if codes := codes_of(error):
                # What the server has written may name the recipient, and a job's error is logged.
                raise MailRefused(f"The mail server refused the mail ({codes}).") from None
            raise

    async def check(self) -> None:
        """Connect and sign in as sending does, and raise what it would raise."""
        if self._server:
            async with aiosmtplib.SMTP(timeout=SMTP_SECONDS, **self._server):
                pass

    def _compose(self, to: str, template: str, context: dict[str, Any]) -> EmailMessage:
        text = self._templates.get_template(f"{template}.txt").render(context)
        html = self._templates.get_template(f"{template}.html").render(context)
        subject, _, body = text.partition("\n")
        message = EmailMessage()
        # The subject may contain users' text, in which a line break would start another header.
        message["Subject"] = " ".join(subject.split())
        message["From"] = self._sender
        message["To"] = Address("", *_split_address(to))
        message["Date"] = localtime()
        message["Message-ID"] = make_msgid(domain=self._sender.domain)
        message["Auto-Submitted"] = "auto-generated"  # prevents automatic replies (RFC 3834)
        message.set_content(body.lstrip())
        message.add_alternative(html, subtype="html")
        return message

    def _log(self, message: EmailMessage, template: str) -> None:
        if not self._logs_content:  # It may contain a token, which readers of the log could use.
            logger.error("The mail %s was not sent: SMTP_URL is not set", template)
            return
        body = message.get_body(("plain",))
        text = body.get_content() if body else ""
        logger.info("Mail to %s: %s\n\n%s", message["To"], message["Subject"], text)


def _smtp_options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    encryption: dict[str, dict[str, Any]] = {
        "smtp": {"start_tls": None},  # STARTTLS if the server offers it
        "smtp+starttls": {"start_tls": True},
        "smtps": {"use_tls": True},
    }
    return {
        "hostname": parts.hostname,
        "port": parts.port,
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        **encryption[parts.scheme],
    }


def _read_templates(folders: Iterable[Path]) -> dict[str, str]:
    paths: Sequence[Path] = [path for folder in folders for path in sorted(folder.iterdir())]
    templates = {path.name: path.read_text() for path in paths}
    if len(templates) < len(paths):
        raise ValueError(f"Two mail templates have one name: {sorted(map(str, paths))}")
    return templates


def _split_address(address: str) -> tuple[str, str]:
    """Return the local part and the domain in ASCII, since few servers accept other domains.

    Raise ValueError when the address is invalid.
    """
    valid = validate_email(address, check_deliverability=False)
    return valid.local_part, valid.ascii_domain


def codes_of(error: aiosmtplib.SMTPException) -> str:
    """Return the codes with which the server has answered, such as "550"."""
    errors = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    responses = [each for each in errors if isinstance(each, aiosmtplib.SMTPResponseException)]
    return ", ".join(sorted({str(each.code) for each in responses}))


def _is_temporary(error: aiosmtplib.SMTPException) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(map(_is_temporary, error.recipients))
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return 400 <= error.code < 500
    return isinstance(error, OSError)  # a failed connection or a time-out
