"""HTML forms: submitted values, validation and error messages."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from app.core import errors
from app.core.database.repository import Versions
from app.core.http.conditional import VERSION

ModelT = TypeVar("ModelT", bound=BaseModel)
ErrorFields = Mapping[type[errors.AppError], str]
ROW_FIELD = re.compile(r"(\d{1,4})-(\w+)")
FORM_ERRORS = (
    ValidationError,
    errors.Invalid,
    errors.InvalidTokenRequest,
    errors.Forbidden,
    errors.Conflict,
    errors.TooLarge,
    errors.TooManyRequests,
)
MESSAGES = {
    "bool_parsing": "Choose one of the list.",
    "date_from_datetime_parsing": "Enter a date such as 2026-11-27.",
    "date_parsing": "Enter a date such as 2026-11-27.",
    "datetime_from_date_parsing": "Enter a time such as 2026-11-27T09:30Z.",
    "datetime_parsing": "Enter a time such as 2026-11-27T09:30Z.",
    "timezone_aware": "Enter a time such as 2026-11-27T09:30Z.",
    "enum": "Choose one of the list.",
    "float_parsing": "Enter a number such as 1.5.",
    "missing": "Please fill this in.",
    "too_short": "At least {min_length} characters.",
    "too_long": "At most {max_length} characters.",
    "string_too_short": "At least {min_length} characters.",
    "string_too_long": "At most {max_length} characters.",
    "string_pattern_mismatch": "Remove the characters that cannot be stored.",
    "decimal_parsing": "Enter a number such as 19.99.",
    "decimal_max_digits": "At most {max_digits} digits.",
    "decimal_whole_digits": "At most {whole_digits} digits before the point.",
    "decimal_max_places": "At most {decimal_places} digits after the point.",
    "finite_number": "Enter a number such as 19.99.",
    "greater_than_equal": "At least {ge}.",
    "int_from_float": "Enter a whole number such as 2.",
    "int_parsing": "Enter a whole number such as 2.",
    "less_than_equal": "At most {le}.",
}


class Form:
    """The submitted values and the errors of a form.

    A page shows each error beside its field, and `alert` above the form. The page is sent with
    `status` and `headers`.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})
        self.errors = dict[str, str]()
        self.alert = ""
        self.status = 200
        self.headers = dict[str, str]()

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def focus(self) -> str | None:
        """Return the first field with an error, in the order of the page."""
        return next((name for name in (*self.values, *self.errors) if name in self.errors), None)

    def read(self, model: type[ModelT], **extra: Any) -> ModelT:
        """Validate the values as a model. Raise ValidationError.

        Empty values are omitted, since browsers send an empty string for an empty field.
        """
        sent = {name: self.values[name] for name in model.model_fields if self.get(name)}
        return model.model_validate(sent | extra)

    def take_rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of fields such as `lines-0-price`, without those that are empty.

        The fields are numbered anew, so that an error is shown beside its field.
        """
        rows = dict[int, dict[str, str]]()
        for key in [*self.values]:
            if match := ROW_FIELD.fullmatch(key.removeprefix(f"{name}-")):
                rows.setdefault(int(match[1]), {})[match[2]] = self.values.pop(key)
        filled = [row for _, row in sorted(rows.items()) if any(map(str.strip, row.values()))]
        self.put_rows(name, filled)
        return [{field: value for field, value in row.items() if value} for row in filled]

    def put_rows(self, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        for number, row in enumerate(rows):
            for field, value in row.items():
                self.values[f"{name}-{number}-{field}"] = value

    def count_rows(self, name: str) -> int:
        keys = (key.split("-") for key in self.values if key.startswith(f"{name}-"))
        return len({number for _, number, *_ in keys})

    def add_error(self, error: Exception, fields: ErrorFields | None = None) -> None:
        """Add the messages of one of FORM_ERRORS, and set the status of the page.

        `fields` names the fields that domain errors are shown beside, unless they name one
        themselves; others become the alert.
        """
        self.status = 422
        match error:
            case ValidationError():
                for each in error.errors(include_input=False, include_url=False):
                    self.errors.setdefault(_field(each["loc"]), _message(each))
            case errors.TooManyRequests():
                self.status = 429
                self.headers["Retry-After"] = str(error.reset_seconds)
                self.alert = error.detail
            case errors.TooLarge():
                self.status, self.alert = 413, error.detail
            case errors.Invalid() if error.loc and error.loc[-1] in self.values:
                self.errors[str(error.loc[-1])] = error.detail
            case errors.AppError():
                if field := (fields or {}).get(type(error)):
                    self.errors[field] = error.detail
                else:
                    self.alert = error.detail


def expected_version(form: Form) -> Versions:
    """Return the version that the form was rendered from.

    Without a valid version no version is expected, so that nothing is overwritten.
    """
    version = form.get("version")
    return frozenset([int(version)] if VERSION.fullmatch(version) else [])


def _field(loc: Sequence[str | int]) -> str:
    """Return the name of a field. In a row it is such as `lines-0-price`."""
    is_in_row = len(loc) > 2 and isinstance(loc[1], int)
    return "-".join(map(str, loc[:3] if is_in_row else loc[:1]))


def _message(error: Any) -> str:
    context = error.get("ctx", {})
    if error["type"] in MESSAGES:
        return MESSAGES[error["type"]].format_map(context)
    message: str = context.get("reason") or error["msg"].removeprefix("Value error, ")
    return message[:1].upper() + message[1:].rstrip(".") + "."


async def get_form(request: Request) -> Form:
    async with request.form() as sent:
        values = {name: value for name, value in sent.items() if isinstance(value, str)}
    # Browsers send line breaks as CRLF. As LF, a line break is one character for every length.
    return Form({name: value.replace("\r\n", "\n") for name, value in values.items()})


FormDep = Annotated[Form, Depends(get_form)]
