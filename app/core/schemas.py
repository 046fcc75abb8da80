"""Base classes of the API's schemas, and field types that they share."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from unicodedata import combining, is_normalized, normalize

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, from_json

MAX_ID = 2**63 - 1  # the largest BIGINT
MAX_INTEGER = 2**31 - 1
MAX_FIELDS = 100
CENT = Decimal("0.01")
MANY_MARKS = "m" * 31


class Input(BaseModel):
    """The base of schemas that clients send. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _limit_fields(cls, value: Any) -> Any:
        """Refuse too many fields: describing thousands of errors would block the event loop."""
        if isinstance(value, Mapping) and len(value) > MAX_FIELDS:
            # Pydantic would keep a ValueError with its traceback, and so with all fields.
            raise PydanticCustomError(
                "too_many_fields", "Send at most {limit} fields", {"limit": MAX_FIELDS}
            )
        return value


class Output(BaseModel):
    """The base of schemas that the API returns."""

    model_config = ConfigDict(from_attributes=True)


def _quantize(amount: Decimal) -> Decimal:
    return amount.quantize(CENT) + 0  # Adding 0 turns minus zero into zero.


def _to_nfc(text: str) -> str:
    """Return one sequence of code points for what looks the same, so that a search finds it."""
    if is_normalized("NFC", text):
        return text
    # Sorting the marks of one character takes time that grows with the square of their number.
    # Unicode (annex 15, section 13) has a limit of 30, which is more than any language needs.
    if MANY_MARKS in "".join("m" if combining(each) else " " for each in text):
        raise PydanticCustomError("too_many_marks", "Send at most 30 combining marks in a row")
    return normalize("NFC", text)


@dataclass(frozen=True)
class Text:
    """Text in NFC: `Annotated[str, Text(max_length=255)]`.

    Its length is that of the normalized text, which is what the database counts.
    """

    max_length: int
    min_length: int = 0

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        schema = core_schema.str_schema(
            pattern=r"^[^\x00]*$",  # PostgreSQL cannot store NUL in text
            min_length=self.min_length or None,
            max_length=self.max_length,
        )
        return core_schema.no_info_before_validator_function(self._normalize, schema)

    def _normalize(self, value: object) -> object:
        # A longer text stays too long: a character of NFC comes from at most four.
        if isinstance(value, str) and len(value) <= 4 * self.max_length:
            return _to_nfc(value)
        return value


def _to_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:  # such as the first hour of the year 1, east of Greenwich
        raise PydanticCustomError("time_out_of_range", "Send a time from 0001 to 9999") from None


def _parse_json(value: object) -> object:
    """Return the value of a text, since forms send JSON as one."""
    try:
        return from_json(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("json_parsing", "Send a JSON object") from None


def _require_storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:  # such as NaN, or half a surrogate pair
        raise PydanticCustomError("json_value", "Send numbers and text that JSON has") from None
    return value


Cents = AfterValidator(_quantize)
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2), Cents]
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
JsonObject = Annotated[
    dict[str, JsonValue], BeforeValidator(_parse_json), AfterValidator(_require_storable)
]
