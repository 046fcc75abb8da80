from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.core import translation
from app.core.context import scope_var
from app.core.translation import (
    CATALOG,
    format_money,
    format_seconds,
    format_time,
    gettext,
    languages,
    negotiate,
    ngettext,
    plain_number,
    use_language,
)

PORTUGUESE = """
msgid ""
msgstr ""
"Language: pt_BR\\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"

msgid "Save {name}"
msgstr "Salvar {name}"

#, fuzzy
msgid "Delete"
msgstr "Editar"

msgid "{count} item"
msgid_plural "{count} items"
msgstr[0] "{count} artigo"
msgstr[1] "{count} artigos"
"""


@pytest.fixture(autouse=True)
def portuguese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a language to English, instead of those of the project."""
    file = tmp_path / "pt_BR" / CATALOG
    file.parent.mkdir(parents=True)
    file.write_text(PORTUGUESE)
    monkeypatch.setattr(translation, "FOLDER", tmp_path)
    monkeypatch.setattr(translation, "languages", languages.__wrapped__)


def test_text_is_translated_with_its_values() -> None:
    assert gettext("Save {name}", name="x") == "Save x"
    with use_language("pt-BR"):
        assert gettext("Save {name}", name="x") == "Salvar x"
        assert gettext("") == ""


def test_language_is_named_in_itself() -> None:
    assert [each.name for each in translation.languages().values()] == [
        "English",
        "Português (Brasil)",
    ]


def test_fuzzy_and_missing_texts_stay_english() -> None:
    with use_language("pt-BR"):
        assert gettext("Delete") == "Delete"
        assert gettext("Edit") == "Edit"


def test_plural_form_is_that_of_the_language() -> None:
    with use_language("pt-BR"):
        forms = [ngettext("{count} item", "{count} items", n, count=n) for n in (0, 1, 2)]
    assert forms == ["0 artigo", "1 artigo", "2 artigos"]


def test_numbers_and_times_are_formatted_for_the_language() -> None:
    time, price = datetime(2026, 11, 7, 13, 4, tzinfo=UTC), Decimal("1234.5")
    assert (format_money(price), format_seconds(1)) == ("1,234.50", "1 second")
    assert format_time(time).replace("\u202f", " ") == "Nov 7, 2026, 1:04 PM UTC"
    with use_language("pt-BR"):
        assert (format_money(price), format_seconds(90)) == ("1.234,50", "90 segundos")
        assert "13:04" in format_time(time)


def test_unknown_language_is_english() -> None:
    with use_language("tlh"):
        assert gettext("Save {name}", name="x") == "Save x"


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", "en"),
        ("pt-BR", "pt-BR"),
        ("PT-br;q=0.5", "pt-BR"),
        ("de, pt-BR;q=0.7, en;q=0.8", "en"),
        ("pt-BR;q=0, en;q=0.1", "en"),
        ("en-GB, pt-BR;q=0.9", "en"),
        ("*", "en"),
        ("pt-BR;q=2", "en"),
        ("\x00" * 1000, "en"),
    ],
)
def test_language_is_the_one_that_the_browser_prefers(accepted: str, tag: str) -> None:
    assert negotiate(accepted) == tag


@pytest.mark.parametrize(
    ("amount", "currency", "tag", "text"),
    [
        ("1234.5", None, "en", "1,234.50"),
        ("1234.5", "USD", "en", "$1,234.50"),
        ("1234", "EUR", "en", "€1,234.00"),
        ("1234", "KRW", "en", "₩1,234"),
        ("1234.5", "KRW", "en", "₩1,234.50"),  # No part of an amount is hidden.
        ("-5", "USD", "en", "-$5.00"),
    ],
)
def test_money_is_formatted_with_its_currency(
    amount: str, currency: str | None, tag: str, text: str
) -> None:
    with use_language(tag):
        assert format_money(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("19.99", "19.99"),
        ("$1,234.50", "1234.50"),
        ("₩ 5,000", "5000"),
        ("-1,000", "-1000"),
        # It is not guessed what was meant.
        ("1,5", "1,5"),
        ("1.234,50", "1.234,50"),
        ("12,34", "12,34"),
        ("five", "five"),
        ("", ""),
    ],
)
def test_number_is_read_in_the_notation_of_the_pages(typed: str, plain: str) -> None:
    assert plain_number(typed) == plain


@pytest.mark.parametrize("zone", ["Asia/Seoul", "America/Los_Angeles"])
def test_times_at_the_ends_of_the_calendar_are_formatted(zone: str) -> None:
    token = scope_var.set({"type": "http", "headers": [], "time_zone": ZoneInfo(zone)})
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    texts = {format_time(first), format_time(last)}
    scope_var.reset(token)
    assert sum(text.endswith("UTC") for text in texts) == 1
