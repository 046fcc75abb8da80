"""Values of settings as people write them: lists, addresses, a database's URL, the `.env` file.

What is clear is normalized. The rest is a ValueError that names the element and the right form.
"""

import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path

from babel.numbers import is_currency
from dotenv.parser import parse_stream
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

NOT_UTF_8 = ".env: this file should be UTF-8, which it is not: save it again in that encoding"

SEPARATORS = re.compile(r"[,;\s]+")
NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[^]]+\]|[^][/?#@:\s]+)(?::([0-9]{1,5}))?/?")
HOST_AND_PORT = re.compile(r"(\[[^]]+\]|[^:/]+)(?::[0-9]+)?/?")
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65_535

DRIVERS = {
    "postgres": "postgresql+asyncpg",  # what hosting providers give
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
SERVER_PARAMETERS = ("application_name", "options")
POSTGRES_PARAMETERS = frozenset(
    {"channel_binding", "host", "port", "sslmode", "target_session_attrs", *SERVER_PARAMETERS}
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
INSTEAD = {
    "pgbouncer": "set DATABASE_PREPARED_STATEMENTS=false",
    "sslcert": "set PGSSLCERT in the environment",
    "sslkey": "set PGSSLKEY in the environment",
    "sslrootcert": "set PGSSLROOTCERT in the environment",
}


class EnvFileError(ValueError):
    """The `.env` file cannot be read as it is meant."""


def split(value: object) -> object:
    """Return the elements of a JSON array, or of a list with commas, semicolons or spaces."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[]", '["')):
        try:
            return json.loads(value)
        except ValueError:
            pass  # its elements are refused one by one
    return [part for part in SEPARATORS.split(value) if part]


def list_of(parse: Callable[[str], Iterable[str]]) -> Callable[[object], object]:
    """Return a validator of a list whose elements `parse` normalizes."""

    def parse_all(value: object) -> object:
        elements = split(value)
        if not isinstance(elements, list) or not all(isinstance(each, str) for each in elements):
            return elements  # pydantic says what is wrong
        return list(dict.fromkeys(parsed for each in elements for parsed in parse(each.strip())))

    return parse_all


def parse_origin(value: str) -> str:
    """Return an origin as browsers send it: in lower case, without a slash or a default port."""
    found = ORIGIN.fullmatch(value.lower())
    host = _normalize_host(found[2]) if found else None
    port = int(found[3]) if found and found[3] else None
    if not found or not host or port == 0 or (port or 0) > MAX_PORT:
        raise ValueError(
            f"{value!r} should be a scheme and a host such as https://app.example.com, without a"
            " path"
        )
    is_default = port is None or port == DEFAULT_PORTS.get(found[1])
    return f"{found[1]}://{host}" + ("" if is_default else f":{port}")


def parse_origins(value: str) -> list[str]:
    return ["*"] if value == "*" else [parse_origin(value)]


def parse_network(value: str) -> list[str]:
    if value == "*":
        raise ValueError("should be addresses or networks such as 10.0.0.0/8, and not *")
    return parse_proxies(value)


def parse_hosts(value: str) -> list[str]:
    """Return a host as it is compared: in lower case, without a scheme and a port.

    `.NAME` stands for both the name and its subdomains, as in Django.
    """
    if value == "*":
        return ["*"]
    text = value.lower()
    text = text.partition("://")[2] or text
    found = HOST_AND_PORT.fullmatch(text)
    text = found[1] if found else text
    below = text.startswith((".", "*."))
    host = _normalize_host(text[text.index(".") + 1 :] if below else text)
    if host is None or (below and host.startswith("[")):
        raise ValueError(
            f"{value!r} should be a name such as example.com, *.example.com for all below one, or"
            " an address"
        )
    if not below:
        return [host]
    return [f"*.{host}"] if text.startswith("*") else [host, f"*.{host}"]


def _normalize_host(text: str) -> str | None:
    """Return a name without its last dot, or an address with an IPv6 one in brackets."""
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        name = text.removesuffix(".")
        return name if NAME.fullmatch(name) else None
    return f"[{address}]" if address.version == 6 else str(address)


def parse_proxies(value: str) -> list[str]:
    """Return addresses or a network, since a proxy's name is never compared."""
    if value == "*":
        return ["*"]
    if value.lower() == "localhost":
        return ["127.0.0.1", "::1"]
    text = value.removeprefix("[").removesuffix("]")
    try:
        return [str(ip_network(text) if "/" in text else ip_address(text))]
    except ValueError:
        pass
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{value!r} should be an address such as 10.0.0.1, or a network such as 10.0.0.0/8"
        ) from None
    address = text.partition("/")[0]
    raise ValueError(f"{value!r} should be {network} for the network, or {address} for the address")


def parse_currency(value: object) -> object:
    if not isinstance(value, str) or not is_currency(value):
        raise ValueError(f"{value!r} should be a currency code of ISO 4217, such as EUR")
    return value


def parse_listen_address(value: object) -> object:
    """Return an address to listen on, without an IPv6 one's brackets."""
    if not isinstance(value, str) or value.lower() == "localhost":
        return value
    try:
        return str(ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(
            f"{value!r} should be an address to listen on, such as 127.0.0.1, 0.0.0.0 or ::"
        ) from None


def is_host_of_shell(host: object) -> bool:
    """Tell whether HOST is a shell's own variable: conda's compilers set it, and so does tcsh."""
    of_shell = (os.environ.get("CONDA_TOOLCHAIN_HOST"), socket.gethostname())
    return host is not None and host in of_shell


def parse_database_url(value: str) -> URL:
    """Return a URL with our drivers and parameters that can be handed to them."""
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError("should be a database URL") from None
    except ValueError:  # the port is no number; the error cites it, which may be of a password
        raise ValueError(UNESCAPED) from None
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    if url.drivername not in DRIVERS.values():
        raise ValueError("should start with sqlite+aiosqlite:// or postgresql+asyncpg://")
    if url.drivername == "sqlite+aiosqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("should name a file: its readers and its writer are two connections")
        return url
    if ssl := url.query.get("ssl"):  # as SQLAlchemy's documentation has it
        url = url.difference_update_query(["ssl"]).update_query_dict({"sslmode": ssl})
    if {"@", "/"} & set(f"{url.host or ''}{url.database or ''}"):
        raise ValueError(UNESCAPED)
    _check_parameters(url)
    return url


UNESCAPED = (
    "has an @, / or : that belongs to no part of a URL: write it in a password as %40, %2F or %3A,"
    " or set POSTGRES_PASSWORD, which needs no escapes"
)


def _check_parameters(url: URL) -> None:
    for name, value in url.query.items():
        if name not in POSTGRES_PARAMETERS:
            known = ", ".join(sorted(POSTGRES_PARAMETERS))
            raise ValueError(f"takes no {name}: {INSTEAD.get(name, f'it takes {known}')}")
        if not isinstance(value, str) and name not in ("host", "port"):
            raise ValueError(f"has {name} more than once")
    if url.query.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(SSL_MODES)}")
    if url.query.get("channel_binding") == "require":
        raise ValueError(
            "takes no channel_binding=require, which the driver cannot do: leave it out;"
            " sslmode=verify-full lets nobody in between either"
        )


def read_env_file(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the settings in a `.env` file, read as Compose reads it.

    In single quotes, a `$` is an ordinary character. Elsewhere Compose replaces names, by rules
    that python-dotenv does not share, and a `$` is refused.
    """
    text = path.read_text("utf-8")
    if "\0" in text:  # UTF-16 without its mark
        raise EnvFileError(NOT_UTF_8)
    values = dict[str, str]()
    known = set(names)
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line
        if binding.error:
            raise EnvFileError(f"{path}: line {line} should be NAME=VALUE, or begin with a #")
        name = (binding.key or "").lower()
        if name not in known or not binding.value:
            continue
        written = binding.original.string.partition("=")[2].lstrip()
        if "$" in binding.value and not written.startswith("'"):
            raise EnvFileError(
                f"{name.upper()}: in {path}, line {line}, a value with a $ should be in single"
                " quotes, and is taken as it stands: Compose reads others in another way"
            )
        values[name] = binding.value
    return values
