"""A schema's fields as a form's: what is asked for is what is validated."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from wtforms import BooleanField, Field, Form, HiddenField, PasswordField, StringField
from wtforms.fields import TextAreaField

LONG = 500  # characters; what may be longer is written in a box of several lines


def form_class(
    schema: type[BaseModel], labels: Mapping[str, str], hidden: tuple[str, ...] = ()
) -> type[Form]:
    described = schema.model_json_schema()
    required = described.get("required", ())
    fields: dict[str, Any] = {name: HiddenField() for name in hidden}
    for name, field in described["properties"].items():
        fields[name] = _field(labels[name], field, is_required=name in required)
    return type(schema.__name__, (Form,), fields)


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
