"""Filters of the templates, which write the HTML of a new resource's fields."""

import re
from collections.abc import Sequence

from app.project.resource import Column, ListFilter

NUMERIC = 'inputmode="numeric", autocomplete="off"'
DECIMAL = 'inputmode="decimal", autocomplete="off"'


def form_field(column: Column, is_first: bool) -> str:
    """Return the call of a macro of web/forms.html."""
    field, name = column.field, f'form, "{column.column}", {text(column.label)}'
    optional = "" if field.is_required else ", required=false"
    focus = ", autofocus=autofocus" if is_first else ""
    match column.type:
        case "bool" if column.is_checkbox:
            return f"checkbox({name})"
        case "bool" | "enum":
            default = "" if field.default is None else f", default={quoted(field.default)}"
            optional = ", required=false" if column.is_null else ""
            return f"choice({name}, [{options(column)}]{default}{optional})"
        case "ref" if column.is_choice:
            return f"reference({name}, choices.{column.choice_key}{optional})"
        case "str":
            return f'field({name}, dir="auto"{optional}{focus}, autocomplete="off")'
        case "text":
            return f'field({name}, type="textarea", dir="auto"{optional}{focus}, rows=6)'
        case "json":
            hint = f"hint={text('A JSON object.')}"
            return f'field({name}, type="textarea", {hint}{optional}{focus}, rows=6)'
        case "date":
            return f'field({name}, type="date"{optional}{focus})'
        case "datetime":
            return f'field({name}, type="datetime-local"{optional}{focus})'
        case "uuid":
            return f'field({name}{optional}{focus}, autocomplete="off")'
    mode = DECIMAL if column.type in ("money", "float") else NUMERIC
    return f'field({name}{optional}{focus}, {mode}, class="amount")'


def row_field(column: Column) -> str:
    """Return the call of a macro for a field of a row of many(...), which may be left empty."""
    name = f'"{column.column}"'
    call = form_field(column, False).replace(name, f"prefix ~ {name}", 1)
    call = re.sub(', (required=false|default="[^"]*")', "", call)
    return call if column.is_checkbox else f"{call.removesuffix(')')}, required=none)"


def macros_of(columns: Sequence[Column], *, has_rows: bool) -> list[str]:
    """Return the macros of web/forms.html that the fields call."""
    called = {form_field(each, False).partition("(")[0] for each in columns}
    return sorted(called | ({"field_message"} if has_rows else set()))


def quoted(value: object) -> str:
    return f'"{str(value).lower() if isinstance(value, bool) else value}"'


def text(words: str) -> str:
    """Return the call that translates the words."""
    return f'_("{words}")'


def options(column: Column) -> str:
    """Return the pairs of a value and its label of a select element."""
    return ", ".join(f'("{value}", {text(label)})' for value, label in choices_of(column))


def choices_of(column: Column) -> list[tuple[str, str]]:
    """Return the values of an enum or of a boolean, with their labels."""
    if not column.choices:
        return [("true", "Yes"), ("false", "No")]
    return [(each, each.replace("_", " ").capitalize()) for each in column.choices]


def filter_options(filter_: ListFilter) -> str:
    return f'("", {text("All")}), {options(filter_.field)}'


def value(column: Column, record: str) -> str:
    """Return the template code that shows the value of a field that is not null."""
    name = f"{record}.{column.column}"
    names = ", ".join(f'"{each}": {text(label)}' for each, label in choices_of(column))
    match column.type:
        case "money":
            return f"{name}|money"
        case "bool":
            return f"{text('Yes')} if {name} else {text('No')}"
        case "date":
            return f"{name}|date"
        case "datetime":
            return f"{name}|time"
        case "enum":
            return f"{{{names}}}[{name}]"
        case "json":
            return f"{name}|tojson"
    return name


def shown(column: Column, record: str) -> str:
    """Return the element of a list of definitions that shows the value of a field."""
    name, code = f"{record}.{column.column}", value(column, record)
    attributes = {"str": ' dir="auto"', "text": ' class="lines" dir="auto"'}.get(column.type, "")
    if column.is_null and column.field.is_text:
        code = f"{name} or {text('None')}"
    elif column.is_null:
        none = f"{{{{ {text('None')} }}}}"
        return f"<dd>{{% if {name} is none %}}{none}{{% else %}}{{{{ {code} }}}}{{% endif %}}</dd>"
    return f"<dd{attributes}>{{{{ {code} }}}}</dd>"


def labeled(column: Column, record: str) -> str:
    """Return the label of a field of a row, and its value."""
    code = f"{{{{ {value(column, record)} }}}}"
    if column.is_null:
        name, none = f"{record}.{column.column}", f"{{{{ {text('none')} }}}}"
        code = f"{{% if {name} is none %}}{none}{{% else %}}{code}{{% endif %}}"
    return f"{{{{ {text(column.label)} }}}}: {code}"


def badge(column: Column, record: str) -> str:
    name = f"{record}.{column.column}"
    code = f"{{{{ {value(column, record)} }}}}"
    if column.type == "bool":
        label = f"{{{{ {text(column.label)} }}}}"
        return f'{{% if {name} %}}<span class="badge good">{label}</span>{{% endif %}}'
    if column.is_null:
        return f'{{% if {name} %}}<span class="badge">{code}</span>{{% endif %}}'
    return f'<span class="badge">{code}</span>'


def cell(column: Column, record: str) -> str:
    class_ = "price" if column.is_number else "added"
    return f'<td class="{class_}">{{{{ {value(column, record)} }}}}</td>'


def filter_label(filter_: ListFilter) -> str:
    if filter_.function == "equals":
        return filter_.field.label
    return f"{filter_.name[:3].capitalize()} {filter_.field.label.lower()}"


def filter_words(filter_: ListFilter) -> str:
    """Return the template code that shows the value of a filter in words."""
    value = f'form.get("{filter_.name}")'
    if filter_.function != "equals":
        return value
    names = ", ".join(f'"{each}": {text(label)}' for each, label in choices_of(filter_.field))
    return f"{{{names}}}.get({value}, {value})"


def filter_field(filter_: ListFilter) -> str:
    """Return the field of a list's filters for a bound."""
    column = filter_.field
    name = f'form, "{filter_.name}", {text(filter_label(filter_))}'
    if column.type == "date":
        return f'field({name}, type="date", required=none)'
    mode = DECIMAL if column.type in ("money", "float") else NUMERIC
    return f"field({name}, required=none, {mode})"


FILTERS = {
    each.__name__: each
    for each in (
        badge,
        cell,
        filter_field,
        filter_label,
        filter_options,
        filter_words,
        form_field,
        labeled,
        row_field,
        shown,
    )
}
