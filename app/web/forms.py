"""HTML forms: submitted values, validation and error messages."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, TypeVar, get_args

from fastapi import Depends, Request
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from app.core import errors
from app.core.database.repository import Versions
from app.core.http.conditional import VERSION
from app.core.translation import (
    current_zone,
    format_seconds,
    gettext,
    mark,
    mark_plural,
    ngettext,
    plain_number,
)
from app.web.time_zone import find_time_zone, from_local_time, is_local_time, to_local_time

ModelT = TypeVar("ModelT", bound=BaseModel)
ErrorFields = Mapping[type[errors.AppError], str]
ROW_FIELD = re.compile(r"(\d{1,4})-(\w+)")
# A form has the field `OWNER`. If its session has ended, the sign-in has it in the field `KEPT`,
# and sends it back to its page with the query parameter `RESUME`.
OWNER, KEPT, RESUME = "form_owner", "kept_form", "resume"
TIME_ZONE = "form_time_zone"  # The field with the time zone that a form was opened in.
KEPT_VALUES = TypeAdapter(dict[str, str])
FORM_RESTORED = mark("You are signed in again. Nothing is saved yet: check the form and send it.")
OTHER_ACCOUNT = mark(
    "This form was opened in another account. Nothing is saved yet: send it to save it in this one."
)
FORM_ERRORS = (
    ValidationError,
    errors.Invalid,
    errors.InvalidTokenRequest,
    errors.Forbidden,
    errors.Conflict,
    errors.TooLarge,
    errors.TooManyRequests,
)
DATE = mark("Enter a date such as 2026-11-27.")
TIME = mark("Enter a date and a time such as 2026-11-27 09:30.")
NUMBER = mark("Enter a number such as 19.99.")
WHOLE_NUMBER = mark("Enter a whole number such as 2.")
CHOICE = mark("Choose one of the list.")
STORABLE = mark("Remove the characters that cannot be stored.")
JSON = mark("Enter a JSON object.")
# By the types of pydantic's errors and of our own.
MESSAGES = {
    "bool_parsing": CHOICE,
    "common_password": mark("This password is a common one, or a common word."),
    "date_from_datetime_parsing": DATE,
    "date_parsing": DATE,
    "date_type": DATE,
    "datetime_from_date_parsing": TIME,
    "datetime_parsing": TIME,
    "decimal_max_digits": mark("At most {max_digits} digits."),
    "decimal_max_places": mark("At most {decimal_places} digits after the point."),
    "decimal_parsing": NUMBER,
    "decimal_whole_digits": mark("At most {whole_digits} digits before the point."),
    "dict_type": JSON,
    "enum": CHOICE,
    "finite_number": NUMBER,
    "float_parsing": mark("Enter a number such as 1.5."),
    "greater_than": mark("More than {gt}."),
    "greater_than_equal": mark("At least {ge}."),
    "int_from_float": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_parsing_size": WHOLE_NUMBER,
    "json_parsing": JSON,
    "json_value": mark("Enter numbers and text that JSON has."),
    "less_than": mark("Less than {lt}."),
    "less_than_equal": mark("At most {le}."),
    "literal_error": CHOICE,
    "missing": mark("Please fill this in."),
    "not_encodable": STORABLE,
    "string_pattern_mismatch": STORABLE,
    "string_unicode": STORABLE,
    "time_out_of_range": mark("Enter a time from the year 1 to the year 9999."),
    "timezone_aware": TIME,
    "too_many_fields": mark("At most {limit} fields."),
    "too_many_marks": mark("At most 30 combining marks in a row."),
    "uuid_parsing": mark("Enter a UUID such as 6fa459ea-ee8a-3ca4-894e-db77e160355e."),
    # Pydantic has no type for it.
    "value_error": mark("Enter an email address such as ann@example.com."),
}
MIN_LENGTH = mark_plural("At least {min_length} character.", "At least {min_length} characters.")
MAX_LENGTH = mark_plural("At most {max_length} character.", "At most {max_length} characters.")
LENGTHS = {
    "too_short": (MIN_LENGTH, "min_length"),
    "string_too_short": (MIN_LENGTH, "min_length"),
    "too_long": (MAX_LENGTH, "max_length"),
    "string_too_long": (MAX_LENGTH, "max_length"),
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
        self.owner = ""
        """The id of the user who opened the form."""
        self.unconfirmed = ""
        """Why the form must not be saved before the user has seen it."""
        self.sent_zone: tzinfo | None = None
        """The time zone of the times in a form that a browser has sent."""

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def time_zone(self) -> tzinfo:
        """Return the time zone that the times of the form are typed in."""
        return self.sent_zone or current_zone()

    def time_input(self, name: str, default: str = "") -> Mapping[str, str]:
        """Return the attributes of the input for a time."""
        text = self.values.get(name, default)
        if self.sent_zone is None:  # otherwise it is shown as it was typed
            text = to_local_time(text, self.time_zone)
        if text and not is_local_time(text):
            return {"type": "text", "value": text}
        step = {"step": "any"} if text[16:] else {}  # By default, browsers refuse seconds.
        return {"type": "datetime-local", "value": text, **step}

    @property
    def focus(self) -> str | None:
        """Return the first field with an error, in the order of the page."""
        return next((name for name in (*self.values, *self.errors) if name in self.errors), None)

    def read(self, model: type[ModelT], **extra: Any) -> ModelT:
        """Validate the values as a model. Raise ValidationError, or Invalid as `confirm` does.

        Empty values are omitted, since browsers send an empty string for an empty field.
        """
        self.confirm()
        sent = {name: self.values[name] for name in model.model_fields if self.get(name)}
        return model.model_validate(self.normalize(model, sent) | extra)

    def normalize(self, model: type[BaseModel], values: Mapping[str, str]) -> dict[str, Any]:
        """Return values as the model takes them.

        Users type amounts in the notation of their language, and times in their time zone.
        """
        plain = dict[str, Any](values)
        for name in typed_fields(model, Decimal) & values.keys():
            plain[name] = plain_number(values[name])
        for name in typed_fields(model, AwareDatetime) & values.keys():
            plain[name] = from_local_time(values[name], self.time_zone)
        return plain

    def confirm(self) -> None:
        """Raise Invalid if the user has not seen this form since they signed in."""
        if self.unconfirmed:
            raise errors.Invalid(self.unconfirmed)

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
                self.alert = translate_error(error)
            case errors.TooLarge():
                self.status, self.alert = 413, translate_error(error)
            case errors.Invalid() if _field(error.loc[1:]) in self.values:
                self.errors[_field(error.loc[1:])] = translate_error(error)
            case errors.AppError():
                if field := (fields or {}).get(type(error)):
                    self.errors[field] = translate_error(error)
                else:
                    self.alert = translate_error(error)


@cache
def typed_fields(model: type[BaseModel], type_: Any) -> frozenset[str]:
    """Return the fields of a model that have a type."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if is_of_type(field.annotation, type_))


def is_of_type(annotation: Any, type_: Any) -> bool:
    """Return whether an annotation is the type, with constraints or null or without."""
    return annotation is type_ or any(is_of_type(each, type_) for each in get_args(annotation))


def translate_error(error: errors.AppError) -> str:
    """Return the text of a domain error in the current language."""
    if isinstance(error, errors.TooManyRequests):
        wait = format_seconds(error.reset_seconds)
        return gettext("Too many requests. Try again in {wait}.", wait=wait)
    return gettext(error.text, **error.values)


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
    kind, context = error["type"], error.get("ctx", {})
    if kind in LENGTHS:
        texts, number = LENGTHS[kind]
        return ngettext(*texts, context[number], **context)
    if kind == "value_error" and "reason" not in context:  # of a slice's own validator
        return _as_sentence(gettext(str(context["error"])))
    text = MESSAGES.get(kind)
    return gettext(text, **context) if text else _as_sentence(error["msg"])


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def browser_messages(
    type_: str, required: bool | None, limits: Mapping[str, Any]
) -> dict[str, str]:
    """Return the messages for the constraints that browsers check too, as data attributes.

    They are named by the properties of ValidityState. `limits` are the field's attributes.
    """
    found = {}
    if required:
        found["value-missing"] = gettext(MESSAGES["missing"])
    if type_ == "email":
        found["type-mismatch"] = gettext(MESSAGES["value_error"])
    if type_ == "number":
        found["bad-input"] = found["step-mismatch"] = gettext(WHOLE_NUMBER)
    if type_ == "date":
        found["bad-input"] = gettext(DATE)
    if type_ == "datetime-local":
        found["bad-input"] = gettext(TIME)
    if length := limits.get("minlength"):
        found["too-short"] = ngettext(*MIN_LENGTH, length, min_length=length)
    if "min" in limits:
        found["range-underflow"] = gettext(MESSAGES["greater_than_equal"], ge=limits["min"])
    if "max" in limits:
        found["range-overflow"] = gettext(MESSAGES["less_than_equal"], le=limits["max"])
    return {f"data-{name}": text for name, text in found.items()}


async def get_form(request: Request) -> Form:
    async with request.form() as sent:
        values = {name: value for name, value in sent.items() if isinstance(value, str)}
    # Browsers send line breaks as CRLF. As LF, a line break is one character for every length.
    form = Form({name: value.replace("\r\n", "\n") for name, value in values.items()})
    if RESUME in request.query_params:
        form.values, form.unconfirmed = read_kept(form.get(KEPT)), FORM_RESTORED
    form.owner = form.values.pop(OWNER, "")
    form.sent_zone = await find_time_zone(form.values.pop(TIME_ZONE, "")) or current_zone()
    principal = getattr(request.state, "principal", None)
    if principal and form.owner not in ("", str(principal.user_id)):
        form.unconfirmed = OTHER_ACCOUNT
    return form


def serialize_form(form: Form) -> str:
    """Return the values of a form, without its passwords, for a field of the sign-in."""
    values = {name: value for name, value in form.values.items() if "password" not in name}
    return json.dumps(values | hidden_fields(form), ensure_ascii=False)


def hidden_fields(form: Form) -> dict[str, str]:
    """Return the fields of a form that are not among its values, to send it again."""
    return {OWNER: form.owner, TIME_ZONE: str(form.time_zone)}


def read_kept(text: str) -> dict[str, str]:
    try:
        return KEPT_VALUES.validate_json(text)
    except ValidationError:  # The field has been tampered with.
        return {}


FormDep = Annotated[Form, Depends(get_form)]
