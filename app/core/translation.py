"""Translation of texts into the language of the current request.

The texts in the source are English. Each other language is a folder of `app/translations`, whose
catalog is compiled in memory: see docs/translating.md.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.dates import format_time as babel_format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    NumberFormatError,
    format_currency,
    format_decimal,
    get_currency_precision,
    parse_decimal,
)
from starlette.requests import HTTPConnection

from app.core.context import scope_var

FOLDER = Path(__file__).parents[1] / "translations"
CATALOG = "LC_MESSAGES/messages.po"
ENGLISH = "en"
COOKIE = "language"
RANGE = re.compile(
    r"\s*([a-z]{2,8}(?:-[a-z0-9]{1,8})*)\s*(?:;\s*q=([01](?:\.\d{1,3})?)\s*)?", re.IGNORECASE
)

language_var: ContextVar[str | None] = ContextVar("language", default=None)


class Language(NamedTuple):
    tag: str  # as in HTML, such as "pt-BR"
    locale: Locale
    translations: NullTranslations

    @property
    def name(self) -> str:
        """Return the name of the language in that language."""
        name = self.locale.get_display_name() or self.tag
        return name[:1].upper() + name[1:]


@cache
def languages() -> dict[str, Language]:
    """Read the catalogs. English is first, the others follow by their tags."""
    found = [Language(ENGLISH, Locale(ENGLISH), NullTranslations())]
    found += [_read_language(file) for file in sorted(FOLDER.glob(f"*/{CATALOG}"))]
    for language in found:  # Babel reads the data of a locale when it formats the first time.
        format_timedelta(timedelta(0), locale=language.locale)
        get_currency_precision("USD")
    return {language.tag: language for language in found}


def _read_language(file: Path) -> Language:
    locale, compiled = Locale.parse(file.parents[1].name), BytesIO()
    with file.open("rb") as source:
        write_mo(compiled, read_po(source, locale))
    compiled.seek(0)
    return Language(str(locale).replace("_", "-"), locale, GNUTranslations(compiled))


def current_language() -> Language:
    """Return the language of the enclosing `use_language`, or else of the current request."""
    tag = language_var.get()
    if tag is None:
        scope = scope_var.get()
        if scope is None:
            tag = ENGLISH
        elif (tag := scope.get("language")) is None:
            tag = scope["language"] = choose_language(HTTPConnection(scope))
    known = languages()
    return known.get(tag) or known[ENGLISH]  # A job may be older than the removal of a language.


def current_zone() -> tzinfo:
    """Return the time zone of the reader of the page, or else UTC: see app/web/time_zone.py."""
    scope = scope_var.get()
    zone: tzinfo = UTC if scope is None else scope.get("time_zone", UTC)
    return zone


@contextmanager
def use_language(tag: str) -> Iterator[None]:
    """Use a language in the block, such as that of a mail's recipient."""
    token = language_var.set(tag)
    try:
        yield
    finally:
        language_var.reset(token)


def choose_language(connection: HTTPConnection) -> str:
    """Return the tag of the visitor's choice, or else of the language that the browser prefers."""
    chosen = connection.cookies.get(COOKIE, "")
    if chosen in languages():
        return chosen
    return negotiate(connection.headers.get("Accept-Language", ""))


def negotiate(accepted: str) -> str:
    """Return the tag of the best language for a header field `Accept-Language` (RFC 9110)."""
    ranges = [match for each in accepted.split(",") if (match := RANGE.fullmatch(each))]
    known = {tag.lower(): tag for tag in languages()}
    for match in sorted(ranges, key=_quality, reverse=True):
        wanted = match[1].lower()
        found = known.get(wanted) or known.get(wanted.partition("-")[0])
        if found and _quality(match) > 0:
            return found
    return ENGLISH


def _quality(match: "re.Match[str]") -> float:
    return float(match[2] or 1)


def mark(text: str) -> str:
    """Mark a text that is translated where it is shown, with `gettext`."""
    return text


def mark_plural(singular: str, plural: str) -> tuple[str, str]:
    """Mark a text with a number that is translated where it is shown, with `ngettext`."""
    return singular, plural


def gettext(text: str, **values: object) -> str:
    """Return the translation of a text, with the values for its {placeholders}."""
    translated = current_language().translations.gettext(text) if text else ""
    return translated.format_map(values) if values else translated


def ngettext(singular: str, plural: str, number: int, **values: object) -> str:
    """Return the translation of a text in the form for a number."""
    translated = current_language().translations.ngettext(singular, plural, number)
    return translated.format_map(values) if values else translated


def format_money(amount: Decimal, currency: str | None = None) -> str:
    """Return an amount, such as "$1,234.50", or "1,234.50" without a currency."""
    tag = current_language().tag
    if currency is None:
        return _format_decimal(amount, "#,##0.00", tag)
    return _format_currency(amount, currency, tag)


def plain_number(text: str) -> str:
    """Return a number in the reader's notation, such as "$1,234.50", as "1234.50".

    A text that is no such number is returned as it is.
    """
    typed = "".join(each for each in text if unicodedata.category(each) not in ("Sc", "Zs"))
    try:
        return str(parse_decimal(typed, current_language().locale, strict=True))
    except NumberFormatError:
        return text


def format_number(number: float, pattern: str | None = None) -> str:
    return _format_decimal(number, pattern, current_language().tag)


def format_time(value: datetime) -> str:
    """Return the time in the reader's time zone, or such as "Nov 27, 2026, 9:30 AM UTC"."""
    zone, language = current_zone(), current_language()
    try:
        local = value.astimezone(zone)
    except (OverflowError, ValueError):  # It would be before the year 1, or after the year 9999.
        zone, local = UTC, value.astimezone(UTC)
    pattern = str(language.locale.datetime_formats["medium"])  # such as "{1}, {0}"
    clock = _format_clock(local.time().replace(second=0, microsecond=0), language.tag)
    text = pattern.format(clock, format_day(local.date()))
    return f"{text} UTC" if zone is UTC else text


def format_day(day: date) -> str:
    return _format_date(day, current_language().tag)


def format_seconds(seconds: int) -> str:
    """Return the duration in words, such as "42 seconds"."""
    duration, locale = timedelta(seconds=seconds), current_language().locale
    return format_timedelta(duration, threshold=1000, locale=locale)  # 90 seconds, not 2 minutes


# A page has the same few values again and again, and Babel takes 20 microseconds for each.
@lru_cache(10_000)
def _format_decimal(number: Decimal | float, pattern: str | None, tag: str) -> str:
    return format_decimal(number, pattern, locale=languages()[tag].locale)


@lru_cache(10_000)
def _format_currency(amount: Decimal, currency: str, tag: str) -> str:
    # Yen and won have no decimals, but an amount that has some is shown with them.
    is_exact = amount == round(amount, get_currency_precision(currency))
    locale = languages()[tag].locale
    return format_currency(amount, currency, locale=locale, currency_digits=is_exact)


@lru_cache(10_000)
def _format_date(value: date, tag: str) -> str:
    return format_date(value, "medium", locale=languages()[tag].locale)


@lru_cache(10_000)
def _format_clock(value: time, tag: str) -> str:
    return babel_format_time(value, "short", locale=languages()[tag].locale)
