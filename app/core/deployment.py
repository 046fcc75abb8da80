"""The checks of `app check --deploy`: what users would find out otherwise."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import aiosmtplib
from anyio import to_thread

from app.core.config import Settings, lack_of_strength
from app.core.database.errors import one_line
from app.core.database.migrations import get_migrations
from app.core.database.startup import (
    Level,
    available_connections,
    clock_difference,
    clock_level,
    required_connections,
)
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from app.core.jobs.mail import Mailer


class Finding(NamedTuple):
    level: Level
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.name:<11} {self.message}"


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Yield what the settings alone tell."""
    if settings.environment == "production":
        yield Finding("ok", "environment", "ENVIRONMENT is production.")
    else:
        yield Finding(
            "error", "environment", f"ENVIRONMENT is {settings.environment}: set production."
        )
    yield check_https(settings)
    yield check_host(settings)
    yield check_proxy(settings)
    yield check_key(settings)


def check_https(settings: Settings) -> Finding:
    if settings.is_https:
        return Finding("ok", "https", f"PUBLIC_URL is {settings.public_url}.")
    return Finding(
        "error", "https", "PUBLIC_URL is not https://: passwords can be read on the way."
    )


def check_host(settings: Settings) -> Finding:
    host = urlsplit(settings.public_url).hostname or ""
    names = (host, f"[{host}]")
    if "*" in settings.allowed_hosts:
        return Finding("warning", "host", "ALLOWED_HOSTS is *: any Host is answered.")
    if any(
        allowed in names or (allowed.startswith("*.") and host.endswith(allowed[1:]))
        for allowed in settings.allowed_hosts
    ):
        return Finding("ok", "host", f"ALLOWED_HOSTS has {host}.")
    return Finding(
        "error", "host", f"ALLOWED_HOSTS lacks {host} of PUBLIC_URL: all requests would be 400."
    )


def check_proxy(settings: Settings) -> Finding:
    proxies = settings.forwarded_allow_ips
    if proxies == ["*"]:
        return Finding(
            "warning", "proxy", "FORWARDED_ALLOW_IPS is *: a client can claim any address."
        )
    if is_loopback(settings.host) or not all(map(is_loopback, proxies)):
        return Finding("ok", "proxy", f"FORWARDED_ALLOW_IPS is {', '.join(proxies)}.")
    return Finding(
        "warning",
        "proxy",
        "FORWARDED_ALLOW_IPS has no other machine: behind a proxy on one, all clients would have"
        " its address, and share its rate limits.",
    )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a network
        return host == "localhost"


def check_key(settings: Settings) -> Finding:
    key = settings.secret_key.get_secret_value() if settings.secret_key else ""
    if lack := lack_of_strength(key):
        return Finding("error", "key", f"SECRET_KEY must have {lack}.")
    return Finding("ok", "key", "SECRET_KEY is set.")


async def check_mail(settings: Settings, mailer: Mailer) -> Finding:
    if settings.smtp_url is None:
        level: Level = "error" if settings.require_verified_email else "warning"
        return Finding(level, "mail", "SMTP_URL is not set: no mail is sent.")
    try:
        await mailer.check()
    except (OSError, aiosmtplib.SMTPException) as error:
        return Finding("error", "mail", f"The server of SMTP_URL takes no mail: {error}")
    return Finding("ok", "mail", "The server of SMTP_URL answers.")


async def check_database(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    """Yield what the database tells: its migrations, its clock and its connections."""
    try:
        migrations = await to_thread.run_sync(get_migrations)
        is_behind = await migrations.is_behind(database)
        await database.check_writable()
    except Unavailable as error:
        yield Finding("error", "database", one_line(error))
        return
    if is_behind:
        yield Finding("error", "migrations", "The schema is behind the code: `app db upgrade`.")
    else:
        yield Finding("ok", "migrations", "The schema is not behind the code.")
    if database.is_sqlite:
        yield Finding("warning", "database", "SQLite is for one machine: all writes take turns.")
        return
    yield check_clock(await clock_difference(database))
    if settings.database_prepared_statements:  # Behind a pooler, the connections are the pooler's.
        yield check_pool(settings, await available_connections(database.reader))


def check_clock(seconds: float) -> Finding:
    message = f"The database's clock is {seconds:.1f} s from this one."
    return Finding(clock_level(seconds), "clock", message)


def check_pool(settings: Settings, available: int) -> Finding:
    """Compare the connections of all processes of one deployment with those of the server."""
    required = required_connections(settings)
    message = f"The processes may open {required} of the server's {available} connections"
    if required > available:
        return Finding("error", "pool", f"{message}: lower DATABASE_POOL_SIZE.")
    if required > available / 2:
        return Finding("warning", "pool", f"{message}: a roll-out, which runs two, needs more.")
    return Finding("ok", "pool", f"{message}.")
