"""Builds the admin's form fields from the schema that validates them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from wtforms import BooleanField, Field, HiddenField, PasswordField, StringField
from wtforms import Form as Fields
from wtforms.fields import TextAreaField

from app.web.forms import Form

TEXTAREA_LENGTH = 500  # fields that may be longer than this get a text area


def build_fields(
    schema: type[BaseModel],
    labels: Mapping[Any, str],
    form: Form,
    record: Any,
    hidden: Iterable[str],
) -> Fields:
    """Build the fields with the submitted values and their errors, or else the stored values."""
    json_schema = schema.model_json_schema()
    required = json_schema.get("required", ())
    fields: dict[str, Any] = {name: HiddenField() for name in hidden}
    for name, field in json_schema["properties"].items():
        fields[name] = _build_field(labels[name], field, is_required=name in required)
    stored = {name: getattr(record, name) for name in fields if hasattr(record, name)}
    filled: Fields = type(schema.__name__, (Fields,), fields)(data=form.values or stored)
    for name, message in form.errors.items():
        filled[name].errors = [message]
    return filled


def _build_field(label: str, property_: Mapping[str, Any], *, is_required: bool) -> Field:
    kind = property_.get("anyOf", [property_])[0]  # the others are null or another notation
    description = property_.get("description", "")
    if kind["type"] == "boolean":
        return BooleanField(label, render_kw={"class": "form-check-input"})
    attributes = {"class": "form-control", "required": is_required}
    if length := kind.get("maxLength"):
        attributes["maxlength"] = length
    if kind.get("format") == "password":
        attributes["autocomplete"] = "new-password"
        return PasswordField(label, description=description, render_kw=attributes)
    if length and length > TEXTAREA_LENGTH:
        return TextAreaField(label, description=description, render_kw=attributes | {"rows": 6})
    return StringField(label, description=description, render_kw=attributes)
