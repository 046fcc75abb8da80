"""Builds the admin's form fields from the schema that validates them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from wtforms import BooleanField, Field, HiddenField, PasswordField, SelectField, StringField
from wtforms import Form as Fields
from wtforms.fields import TextAreaField

from app.core.translation import gettext
from app.web.admin_site.texts import AdminText, choice_label
from app.web.forms import Form
from app.web.resource_pages import format_value

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
    definitions = json_schema.get("$defs", {})
    fields: dict[str, Any] = {name: HiddenField() for name in hidden}
    for name, field in json_schema["properties"].items():
        fields[name] = _build_field(labels[name], field, definitions, is_required=name in required)
    values = {name: getattr(record, name) for name in fields if hasattr(record, name)}
    stored = {
        name: value if fields[name].field_class is BooleanField else format_value(value)
        for name, value in values.items()
    }
    filled: Fields = type(schema.__name__, (Fields,), fields)(data=form.values or stored)
    for name, message in form.errors.items():
        filled[name].errors = [message]
    return filled


def _build_field(
    label: str, property_: Mapping[str, Any], definitions: Mapping[str, Any], *, is_required: bool
) -> Field:
    kinds = property_.get("anyOf", [property_])
    kind = kinds[0]  # the others are null or another notation
    if "$ref" in kind:
        kind = definitions[kind["$ref"].rpartition("/")[2]]
    description, default = gettext(property_.get("description", "")), property_.get("default")
    # A box that is not checked is not sent, so that it could not be set to false or to null.
    is_box = not (default or is_required or {"type": "null"} in kinds)
    if kind["type"] == "boolean" and is_box:
        return BooleanField(label, render_kw={"class": "form-check-input"})
    attributes = {"class": "form-control", "required": is_required}
    if kind["type"] == "boolean" or "enum" in kind:
        choices: list[tuple[str, str]] = [] if default is not None else [("", "")]
        choices += [(name, choice_label(name)) for name in kind.get("enum", ())] or [
            ("true", AdminText("Yes")),
            ("false", AdminText("No")),
        ]
        chosen = format_value(default)
        return SelectField(
            label, choices=choices, default=chosen, description=description, render_kw=attributes
        )
    if kind["type"] == "object":
        return TextAreaField(label, description=gettext("A JSON object."), render_kw=attributes)
    if length := kind.get("maxLength"):
        attributes["maxlength"] = length
    if kind.get("format") == "password":
        attributes["autocomplete"] = "new-password"
        return PasswordField(label, description=description, render_kw=attributes)
    if length and length > TEXTAREA_LENGTH:
        return TextAreaField(label, description=description, render_kw=attributes | {"rows": 6})
    return StringField(label, description=description, render_kw=attributes)
