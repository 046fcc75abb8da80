"""A schema's fields as a form's: what is asked for is what is validated."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from wtforms import BooleanField, Field, HiddenField, PasswordField, StringField
from wtforms import Form as Fields
from wtforms.fields import TextAreaField

from app.web.forms import Form

LONG = 500  # characters; what may be longer is written in a box of several lines


def fields_of(
    schema: type[BaseModel],
    labels: Mapping[Any, str],
    form: Form,
    record: Any,
    hidden: Iterable[str],
) -> Fields:
    """As they were sent, with what is wrong with them, or else as they are stored."""
    described = schema.model_json_schema()
    required = described.get("required", ())
    fields: dict[str, Any] = {name: HiddenField() for name in hidden}
    for name, field in described["properties"].items():
        fields[name] = _field(labels[name], field, is_required=name in required)
    stored = {name: getattr(record, name) for name in fields if hasattr(record, name)}
    filled: Fields = type(schema.__name__, (Fields,), fields)(data=form.values or stored)
    for name, message in form.errors.items():
        filled[name].errors = [message]
    return filled


def _field(label: str, described: Mapping[str, Any], *, is_required: bool) -> Field:
    kind = described.get("anyOf", [described])[0]  # the others are null, or another way to write it
    description = described.get("description", "")
    if kind["type"] == "boolean":
        return BooleanField(label, render_kw={"class": "form-check-input"})
    attributes = {"class": "form-control", "required": is_required}
    if length := kind.get("maxLength"):
        attributes["maxlength"] = length
    if kind.get("format") == "password":
        attributes["autocomplete"] = "new-password"
        return PasswordField(label, description=description, render_kw=attributes)
    if length and length > LONG:
        return TextAreaField(label, description=description, render_kw=attributes | {"rows": 6})
    return StringField(label, description=description, render_kw=attributes)
