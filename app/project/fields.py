"""The fields of a new resource, such as `number:str(20) unique` or `status:enum(draft,paid)=draft`.

A field is a name, a type, and any of: `?` (may be null), `=default`, `>=1` and `<=100`, `unique`
(for each owner, or of many(...) for each record) and `index`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any
from uuid import UUID

NUMBERS = ("int", "bigint", "money", "float")
TEXTS = ("str", "text")
SCALARS = (*TEXTS, *NUMBERS, "bool", "date", "datetime", "uuid", "json", "enum")
CHILD_TYPES = (*SCALARS, "ref")
TYPES = (*CHILD_TYPES, "many")
LENGTHS = {"str": 255, "text": 10_000}
MAX_LENGTH = {"str": 2000, "text": 100_000}
INTEGERS = {"int": 2**31 - 1, "bigint": 2**63 - 1}
MAX_MONEY = Decimal("9999999999.99")
MAX_ENUM_LENGTH = MAX_DEFAULT_LENGTH = 50
MAX_NAME_LENGTH = 25

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
START = re.compile(r"\s*(?P<name>[^\s:]*)\s*:\s*(?P<type>[a-z]+)\s*")
OPTION = re.compile(
    r"""\s*(?:(?P<null>\?)
    | (?P<sign>[<>]=|=)\s*(?P<value>"[^"]*"|'[^']*'|[^\s?<>="']+)
    | (?P<word>unique|index)(?!\w))""",
    re.VERBOSE,
)
EXAMPLES = {
    "str": "name:str(20)",
    "enum": "status:enum(draft,sent)",
    "ref": "customer:ref(users)",
    "many": "lines:many(item:ref(items), quantity:int)",
}


class FieldError(ValueError):
    """A field cannot be read. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Field:
    name: str
    type: str
    is_null: bool = False
    default: Any = None
    at_least: Any = None
    at_most: Any = None
    is_unique: bool = False
    is_indexed: bool = False
    length: int = 0
    choices: tuple[str, ...] = ()
    table: str = ""
    children: "tuple[Field, ...]" = ()

    @property
    def is_required(self) -> bool:
        return not self.is_null and self.default is None

    @property
    def is_number(self) -> bool:
        return self.type in NUMBERS

    @property
    def is_text(self) -> bool:
        return self.type in TEXTS


def parse_field(text: str, *, is_child: bool = False) -> Field:
    """Return the field that a text describes. Raise FieldError."""
    start = START.match(text)
    if start is None:
        raise FieldError(f"{text!r} is not a field. Write its name and its type: due:date?")
    name, type_ = start["name"], start["type"]
    check_name(name)
    known = CHILD_TYPES if is_child else TYPES
    if type_ not in known:
        reason = f"There is no type {type_!r}"
        if type_ in TYPES:
            reason = f"many(...) takes no {type_}"
        raise FieldError(f"{name}: {reason}. The types: {', '.join(known)}.")
    argument, rest = split_argument(name, text[start.end() :])
    values: dict[str, Any] = {"name": name, "type": type_}
    values |= read_argument(name, type_, argument)
    values |= read_options(name, type_, rest)
    return checked(Field(**values))


def check_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise FieldError(
            f"{name!r} cannot be a name: use a letter, then up to {MAX_NAME_LENGTH - 1} lowercase"
            " letters, digits and single underscores."
        )


def split_argument(name: str, text: str) -> tuple[str | None, str]:
    """Return what is in the parentheses at the start of the text, and what comes after them."""
    if not text.startswith("("):
        return None, text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:position].strip(), text[position + 1 :]
    raise FieldError(f"{name}: a closing parenthesis is missing.")


def read_argument(name: str, type_: str, argument: str | None) -> dict[str, Any]:
    """Return the values of a type's argument, such as the length of `str(20)`."""
    if type_ in LENGTHS:
        length = str(LENGTHS[type_]) if argument is None else argument
        if not re.fullmatch("[1-9][0-9]{0,6}", length) or int(length) > MAX_LENGTH[type_]:
            limit = MAX_LENGTH[type_]
            raise FieldError(f"{name}: the length is a number from 1 to {limit:,}: {type_}(20).")
        return {"length": int(length)}
    if type_ in EXAMPLES and not argument:
        raise FieldError(f"{name}: write it as {EXAMPLES[type_]}.")
    if type_ not in EXAMPLES and argument is not None:
        raise FieldError(f"{name}: {type_} takes nothing in parentheses.")
    if type_ == "enum":
        return {"choices": read_choices(name, argument or "")}
    if type_ == "ref":
        return {"table": argument}
    if type_ == "many":
        children = split_fields(argument or "")
        return {"children": tuple(parse_field(each, is_child=True) for each in children)}
    return {}


def read_choices(name: str, argument: str) -> tuple[str, ...]:
    choices = tuple(each.strip() for each in argument.split(","))
    for each in choices:
        if not NAME.fullmatch(each) or len(each) > MAX_ENUM_LENGTH:
            raise FieldError(
                f"{name}: {each!r} cannot be a choice: use lowercase letters, digits and single"
                " underscores."
            )
    if len({*choices}) < len(choices):
        raise FieldError(f"{name}: a choice is listed twice.")
    return choices


def split_fields(text: str) -> list[str]:
    """Split at the commas that are not in parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def read_options(name: str, type_: str, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    text = text.rstrip()
    while text:
        option = OPTION.match(text)
        if option is None:
            raise FieldError(
                f"{name}: {text.strip()!r} is not understood. After the type come ?, =default, >=1,"
                " <=100, unique and index."
            )
        key, value = read_option(name, type_, option)
        if key in values:
            raise FieldError(f"{name}: {option[0].strip()!r} is said twice.")
        values[key] = value
        text = text[option.end() :]
    return values


def read_option(name: str, type_: str, option: "re.Match[str]") -> tuple[str, Any]:
    if option["null"]:
        return "is_null", True
    if option["word"]:
        return f"is_{option['word']}".replace("index", "indexed"), True
    sign, text = option["sign"], option["value"]
    if sign != "=" and type_ not in NUMBERS:
        raise FieldError(f"{name}: {type_} takes no {sign}. Bounds are for {', '.join(NUMBERS)}.")
    key = {"=": "default", ">=": "at_least", "<=": "at_most"}[sign]
    return key, read_value(name, type_, text)


def read_value(name: str, type_: str, text: str) -> Any:
    """Return the Python value of a default or a bound."""
    if text[0] in "\"'":
        text = text[1:-1]
    try:
        value = VALUES[type_](text)
    except (KeyError, ValueError, InvalidOperation):
        raise FieldError(f"{name}: {text!r} is not a value of the type {type_}.") from None
    return value


def read_money(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or value != value.quantize(Decimal("0.01")) or abs(value) > MAX_MONEY:
        raise ValueError(text)
    return value


def read_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def read_time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


VALUES: dict[str, Any] = {
    "str": str,
    "text": str,
    "int": int,
    "bigint": int,
    "money": read_money,
    "float": read_float,
    "bool": {"true": True, "false": False}.__getitem__,
    "date": date.fromisoformat,
    "datetime": read_time,
    "uuid": UUID,
    "enum": str,
}


def checked(field: Field) -> Field:
    """Return the field. Raise FieldError if its parts contradict each other."""
    for problem in problems_of(field):
        raise FieldError(f"{field.name}: {problem}")
    return field


def problems_of(field: Field) -> Sequence[str]:
    limit = INTEGERS.get(field.type)
    numbers = [each for each in (field.at_least, field.at_most, field.default) if field.is_number]
    given = [each for each in numbers if each is not None]
    low, high = field.at_least, field.at_most
    checks = [
        (
            field.is_null and field.default is not None,
            "choose ? or a default: a form could not tell them apart.",
        ),
        (
            field.choices and field.default not in (None, *field.choices),
            f"{field.default!r} is none of the choices.",
        ),
        (
            field.is_text and len(str(field.default or "")) > min(field.length, MAX_DEFAULT_LENGTH),
            f"the default is longer than {min(field.length, MAX_DEFAULT_LENGTH)} characters.",
        ),
        (
            field.type in ("json", "text") and (field.is_unique or field.is_indexed),
            f"{field.type} cannot be unique or indexed.",
        ),
        (
            field.type == "many" and (field.is_null or field.is_unique or field.is_indexed),
            "many(...) takes nothing after it.",
        ),
        (
            limit is not None and any(abs(each) > limit for each in given),
            f"{field.type} has numbers up to {limit or 0:,}.",
        ),
        (
            low is not None and high is not None and low > high,
            f"no number is at least {low} and at most {high}.",
        ),
        (
            field.is_number and field.default is not None and not is_within(field),
            f"the default {field.default} is out of bounds.",
        ),
    ]
    return [problem for is_wrong, problem in checks if is_wrong]


def is_within(field: Field) -> bool:
    low, high = field.at_least, field.at_most
    if field.type == "money" and low is None:
        low = 0  # Prices are not negative, unless a bound says so.
    return (low is None or field.default >= low) and (high is None or field.default <= high)
