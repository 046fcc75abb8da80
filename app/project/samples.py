"""Values of the fields for the tests of a new resource, as Python code.

The templates use these functions as filters.
"""

import json
from collections.abc import Callable
from decimal import Decimal

from app.project.fields import INTEGERS, MAX_MONEY
from app.project.resource import Children, Column

# Values of the generated tests, as JSON has them.
SAMPLES = {
    "bool": "True",
    "date": '"2026-11-27"',
    "datetime": '"2026-11-27T09:30:00Z"',
    "uuid": '"11111111-2222-4333-8444-555555555555"',
    "json": '{"color": "red"}',
}
CHANGED = {
    "bool": "False",
    "date": '"2027-01-31"',
    "datetime": '"2027-01-31T10:00:00Z"',
    "uuid": '"99999999-8888-4777-8666-555555555555"',
    "json": '{"color": "blue", "sizes": [1, 2.5, None]}',
}
INVALID = {
    "bool": ['"maybe"'],
    "date": ['"2026-02-30"', '"never"'],
    "datetime": ['"2026-11-27T09:30:00"', '"0001-01-01T00:00:00+01:00"', '"never"'],
    "uuid": ['"x"'],
    "json": ["[]", """'{"a": NaN}'""", '"x"', "7"],
    "ref": ["0", "2**63", "2**40"],
}


def sample(column: Column, later: int = 0) -> str:
    """Return a value of a test as Python code, as JSON has it.

    References to other records of the same table are `later`.
    """
    field = column.field
    low, high = column.bounds
    match column.type:
        case "str" | "text":
            return column.example
        case "int" | "bigint" | "float":
            return str(low if low is not None else min(2, high if high is not None else 2))
        case "money":
            return f'"{Decimal(min(max(Decimal("19.99"), low), high or MAX_MONEY)):.2f}"'
        case "enum":
            return f'"{field.default or field.choices[0]}"'
        case "ref" if column.target is not None:
            return column.target.made(column.first + later)
    return SAMPLES[column.type]


def json_default(column: Column) -> str:
    """Return what is stored when the field is omitted, as Python code."""
    value = column.field.default
    match column.type:
        case "bool" | "int" | "bigint" | "float":
            return repr(value)
        case "datetime" if value is not None:
            return f'"{value.isoformat().replace("+00:00", "Z")}"'
        case "money" if value is not None:
            return f'"{value:.2f}"'
    return "None" if value is None else json.dumps(str(value))


def changed(column: Column) -> str:
    """Return another value of a test, or the same one if there is no other."""
    field = column.field
    low, high = column.bounds
    match column.type:
        case "str" | "text":
            others = [f'"{text[: field.length]}"' for text in ("Changed", "Other")]
            return next(each for each in others if each != sample(column))
        case "int" | "bigint" | "float":
            first = json.loads(sample(column))
            other = first + 1 if high is None or first < high else first - 1
            return str(max(other, low) if low is not None else other)
        case "money":
            least = Decimal(max(low, 1))
            amounts = [least, least + 1] if high is None else [min(least, high), Decimal(high) - 1]
            texts = [f'"{amount:.2f}"' for amount in amounts]
            return next((each for each in texts if each != sample(column)), texts[0])
        case "enum":
            others = [each for each in field.choices if f'"{each}"' != sample(column)]
            return f'"{[*others, *field.choices][0]}"'
        case "ref" if column.target is not None:
            return column.target.made(column.first + 1)
    return CHANGED[column.type]


def invalid(column: Column) -> list[str]:
    """Return values of a test that are refused, as Python code."""
    field = column.field
    low, high = column.bounds
    values = [] if column.is_null else ["None"]
    match column.type:
        case "str" | "text":
            values += ['""'] if field.is_required else []
            values += [f'"x" * {field.length + 1}', "7", r'"a\x00b"']
        case "int" | "bigint":
            limit = INTEGERS[column.type]
            values += [str((-limit if low is None else low) - 1)]
            values += [str((limit if high is None else high) + 1), '"x"', "1.5"]
        case "money":
            values += [f'"{low - Decimal("0.01")}"', '"1.999"', '"NaN"']
            values += [f'"{(MAX_MONEY if high is None else high) + Decimal("0.01")}"']
        case "float":
            values += [f"{low - 1}"] if low is not None else []
            values += ([f"{high + 1}"] if high is not None else []) + ['"nan"', '"x"']
        case "enum":
            values += ['"none_of_them"']
        case _:
            values += INVALID[column.type]
    return values


def has_others(children: Children) -> bool:
    """Return whether two rows of a test can differ in each unique value."""
    return all(sample(each, 2) != changed(each) for each in children.unique)


def invalid_in_form(column: Column) -> str:
    """Return what a form refuses, as Python code."""
    return f'"x" * {column.field.length + 1}' if column.field.is_text else '"none of them"'


FILTERS: dict[str, Callable[..., object]] = {
    "sample": sample,
    "changed": changed,
    "invalid": invalid,
    "invalid_in_form": invalid_in_form,
    "json_default": json_default,
    "has_others": has_others,
}
