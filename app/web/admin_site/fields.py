"""The fields of the admin's forms, which are made from the schema that validates them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from app.core.translation import mark
from app.web.admin_site.filters import YES_OR_NO
from app.web.admin_site.texts import choice_label
from app.web.resource_pages import format_value

TEXTAREA_LENGTH = 500  # fields that may be longer than this get a text area
JSON_HINT = mark("A JSON object.")
INPUT_TYPES = {"date": "date", "date-time": "datetime-local", "email": "email"}


class Field(NamedTuple):
    """A field of a form. Its texts are in English."""

    name: str
    label: str
    type: str
    """The type of an input, or "textarea", "checkbox" or "choice"."""
    is_required: bool
    hint: str = ""
    choices: Sequence[tuple[str, str]] = ()
    default: str = ""
    attributes: Mapping[str, Any] = {}


def fields_of(schema: type[BaseModel], labels: Mapping[str, str]) -> Iterator[Field]:
    json_schema = schema.model_json_schema()
    required = json_schema.get("required", ())
    definitions = json_schema.get("$defs", {})
    for name, property_ in json_schema["properties"].items():
        yield _field(name, labels[name], property_, definitions, is_required=name in required)


def _field(
    name: str,
    label: str,
    property_: Mapping[str, Any],
    definitions: Mapping[str, Any],
    *,
    is_required: bool,
) -> Field:
    kinds = property_.get("anyOf", [property_])
    kind = kinds[0]  # the others are null or another notation
    if "$ref" in kind:
        kind = definitions[kind["$ref"].rpartition("/")[2]]
    hint, default = property_.get("description", ""), property_.get("default")
    if kind["type"] == "boolean" or "enum" in kind:
        # A box that is not checked is not sent, so that it could not be set to false or to null.
        is_box = not ("enum" in kind or default or is_required or {"type": "null"} in kinds)
        if is_box:
            return Field(name, label, "checkbox", is_required, hint)
        choices = [(each, choice_label(each)) for each in kind.get("enum", ())] or YES_OR_NO
        return Field(name, label, "choice", is_required, hint, choices, format_value(default))
    if kind["type"] == "object":
        return Field(name, label, "textarea", is_required, JSON_HINT)
    length = kind.get("maxLength")
    attributes = {"maxlength": length} if length else {}
    if kind.get("format") == "password":
        attributes |= {"autocomplete": "new-password", "minlength": kind.get("minLength")}
        return Field(name, label, "password", is_required, hint, attributes=attributes)
    if length and length > TEXTAREA_LENGTH:
        return Field(
            name, label, "textarea", is_required, hint, attributes=attributes | {"rows": 6}
        )
    type_ = INPUT_TYPES.get(kind.get("format", ""), "text")
    return Field(name, label, type_, is_required, hint, attributes=attributes)
