"""Forms: what was sent, and what is wrong with it."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from app.core import errors
from app.core.database.repository import Versions
from app.core.http.conditional import VERSION

ModelT = TypeVar("ModelT", bound=BaseModel)
Blame = Mapping[type[errors.AppError], str]
REFUSALS = (
    ValidationError,
    errors.Invalid,
    errors.InvalidTokenRequest,
    errors.Forbidden,
    errors.Conflict,
    errors.TooManyRequests,
)
MESSAGES = {
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
    """A page shows it with its errors, each beside its field; `alert` is what no field is to blame
    for. `status` and `headers` are those of such a page."""

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
        """The first field with an error, in the order of the page."""
        return next((name for name in (*self.values, *self.errors) if name in self.errors), None)

    def read(self, model: type[ModelT], **given: Any) -> ModelT:
        """Its fields of the model. A browser sends an empty text for what nobody has filled in."""
        sent = {name: self.values[name] for name in model.model_fields if self.get(name)}
        return model.model_validate(sent | given)

    def refuse(self, error: Exception, blamed: Blame | None = None) -> None:
        """Takes in one of REFUSALS; `blamed` are the fields that the domain's errors are about."""
        self.status = 422
        match error:
            case ValidationError():
                for each in error.errors(include_input=False, include_url=False):
                    self.errors.setdefault(str(each["loc"][0]), _message(each))
            case errors.TooManyRequests():
                self.status = 429
                self.headers["Retry-After"] = str(error.reset_seconds)
                self.alert = error.detail
            case errors.AppError():
                if field := (blamed or {}).get(type(error)):
                    self.errors[field] = error.detail
                else:
                    self.alert = error.detail


def seen_in(form: Form) -> Versions:
    """The version that the form was made from. Without one of ours, nothing is overwritten."""
    version = form.get("version")
    return frozenset([int(version)] if VERSION.fullmatch(version) else [])


def _message(error: Any) -> str:
    context = error.get("ctx", {})
    if error["type"] in MESSAGES:
        return MESSAGES[error["type"]].format_map(context)
    message: str = context.get("reason") or error["msg"].removeprefix("Value error, ")
    return message[:1].upper() + message[1:].rstrip(".") + "."


async def get_form(request: Request) -> Form:
    async with request.form() as sent:
        texts = {name: value for name, value in sent.items() if isinstance(value, str)}
    # A browser ends lines as the mail does; everybody else counts them as one character.
    return Form({name: value.replace("\r\n", "\n") for name, value in texts.items()})


FormDep = Annotated[Form, Depends(get_form)]
