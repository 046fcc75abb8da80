import unicodedata
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from app.core.schemas import Text

NAME = TypeAdapter[str](Annotated[str, Text(min_length=1, max_length=255)])


def kinds_of(error: ValidationError) -> list[str]:
    return [each["type"] for each in error.errors()]


def test_normalization_shortens_text_at_most_to_a_quarter() -> None:
    """A text longer than four times the limit is refused without being normalized."""
    characters = map(chr, range(0x110000))
    assert max(len(unicodedata.normalize("NFD", each)) for each in characters) == 4


@pytest.mark.parametrize("text", ["e\u0301" * 255, "\u1112\u1161\u11ab" * 255, "\u0958" * 127])
def test_length_is_measured_after_normalization(text: str) -> None:
    assert NAME.validate_python(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", ["e\u0301" * 256, "\u0958" * 128, "e" * 2000])
def test_text_that_is_too_long_when_normalized_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NAME.validate_python(text)
    assert kinds_of(refused.value) == ["string_too_long"]


def test_thirty_marks_in_disorder_are_sorted_and_more_are_refused() -> None:
    """The time to sort the marks of a character grows with the square of their number."""
    marks = "\u0301\u0316" * 15
    assert NAME.validate_python(f"x{marks}") == unicodedata.normalize("NFC", f"x{marks}")
    with pytest.raises(ValidationError) as refused:
        NAME.validate_python(f"x{marks}\u0301\u0316")
    assert kinds_of(refused.value) == ["too_many_marks"]


@pytest.mark.parametrize("value", ["\x00", "\ud800", "e\u0301\ud800", 5, None])
def test_value_that_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(value)
