"""A new resource: its names, its fields and its references, as the templates use them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.project.fields import Field

SORTABLE = ("str", "int", "bigint", "money", "float", "date", "datetime")
RANGES = ("int", "bigint", "money", "float", "date", "datetime")
EQUALS = ("bool", "enum", "uuid", "ref")
HIDDEN = ("text", "json")  # not in the admin's list
ADMIN_FILTERS = ("bool", "enum", "money", "datetime", "int", "bigint", "float", "date", "ref")
CELLS = ("money", "date", "datetime", "int", "bigint", "float")  # by importance
SHOWN_FILTERS = ("money", "date", "bool", "enum")
MAX_CELLS, MAX_FILTERS = 2, 6
ROW_ORDER = "row_order"  # the column of children for which the name `position` is taken
PYTHON_TYPES = {
    "str": "str",
    "text": "str",
    "int": "int",
    "bigint": "int",
    "money": "Decimal",
    "float": "float",
    "bool": "bool",
    "date": "date",
    "datetime": "datetime",
    "uuid": "UUID",
    "json": "dict[str, Any]",
    "ref": "int",
}
COLUMN_TYPES = {
    "text": "Text",
    "bigint": "BigInteger",
    "money": "Money",
    "datetime": "UtcDateTime",
    "json": "JSON(none_as_null=True)",
}
EXAMPLES = {
    "int": "2",
    "bigint": "2",
    "money": '"19.99"',
    "float": "1.5",
    "bool": "False",
    "ref": "7",
}
# The names that schemas.py has already.
SCHEMA_NAMES = {"Annotated", "Cents", "Decimal", "Field", "Input", "Output", "Price", "Text"}
SCHEMA_NAMES |= {"Any", "JsonObject", "Literal", "UtcTime"}


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def words_of(name: str) -> str:
    return name.replace("_", " ")


def with_article(words: str) -> str:
    is_vowel = re.match(r"[aeio]|u(?!ni[^nm]|s[aeiu]|ti)", words)
    return f"{'an' if is_vowel else 'a'} {words}"


def plural_of(name: str) -> str:
    if re.search("[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if re.search("(s|x|z|ch|sh)$", name) else f"{name}s"


def singular_of(name: str) -> str:
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if name.endswith(ending) and not name.endswith("ss"):
            return name.removesuffix(ending) + singular
    return name


@dataclass(frozen=True)
class Target:
    """The model of a table that a field refers to."""

    table: str
    model: str
    module: str
    is_owned: bool
    title: str = ""
    """The column by which people call a row, if there is one."""
    required: tuple[tuple[str, str], ...] = ()
    """The columns without a default, and a value for each as Python code, which differs by `n`."""
    parents: tuple[str, ...] = ()
    """The tables, other than users, that each of its rows refers to."""

    @property
    def name(self) -> str:
        return singular_of(self.table)

    @property
    def arguments(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.required)

    def made(self, n: int) -> str:
        """Return the code of a test that makes a record, and its id.

        A test makes one with each `n` only once, since it may be a unique value of the record.
        """
        if not self.is_owned:
            return "ann.id" if n % 2 else "bob.id"
        return f"await make_{self.name}(app, ann, {n})"

    @property
    def feature(self) -> str | None:
        """Return the feature that the table belongs to, if it is one."""
        package, _, name = self.module.removesuffix(".models").rpartition(".")
        return name if package == "app.features" else None


class Column:
    """A field, and how it is written in each file of the resource."""

    def __init__(
        self,
        field: Field,
        owner: str,
        prefix: str,
        target: Target | None,
        children: str = "",
        first: int = 1,
    ) -> None:
        self.field, self.owner, self.first = field, owner, first
        self.name = field.name
        self.type = field.type
        self.is_null, self.is_unique = field.is_null, field.is_unique
        self.choices = field.choices
        self.table = field.table
        self.column = f"{field.name}_id" if field.type == "ref" else field.name
        self.words = words_of(field.name).removeprefix("is ")
        self.label = self.words.capitalize()
        self.plural = plural_of(field.name)
        # A field of many(...) has the name of its record before its own.
        self.enum = f"{owner}{camel(field.name)}"
        self.enum_type = f"{prefix}{camel(field.name)}"
        self.enum_length = max(20, *map(len, field.choices)) if field.choices else 0
        self.python = self.enum if field.choices else PYTHON_TYPES[field.type]
        alias = f"{prefix}{camel(self.column)}"
        self.alias = (alias if alias not in SCHEMA_NAMES else f"{owner}{alias}") * bool(
            self.alias_type
        )
        # A reference has methods whose names end in `referred`, choices with the key `choice_key`,
        # the select element `element` in the form, and the place `in_body` in a request's body.
        self.referred = f"{singular_of(children)}_{self.plural}" if children else self.plural
        self.choice_key = f"{children}_{self.column}" if children else self.column
        self.element = f"{children}-0-{self.column}" if children else self.column
        self.in_body = f'["{children}"][0]["{self.column}"]' if children else f'["{self.column}"]'
        self.target = target
        self.target_words = words_of(target.name) if target else ""
        self.is_owned = target is not None and target.is_owned
        # The rows of its owner are a choice in forms. Anybody's users are not.
        self.is_choice = target is not None and target.is_owned and target.feature is not None

    @property
    def is_sort(self) -> bool:
        return self.type in SORTABLE and not self.is_null

    @property
    def is_number(self) -> bool:
        return self.field.is_number

    @property
    def is_checkbox(self) -> bool:
        """A box that is not checked is not sent, so that it has to be false by default."""
        return self.type == "bool" and self.field.default is False

    @property
    def null(self) -> str:
        return " | None" if self.is_null else ""

    @property
    def default(self) -> str:
        """Return the default as Python code, or nothing."""
        value = self.field.default
        match self.type:
            case _ if value is None:
                return ""
            case "money":
                return f'Decimal("{value}")'
            case "enum":
                return f"{self.enum}.{value.upper()}"
            case "date":
                return f"date({value.year}, {value.month}, {value.day})"
            case "datetime":
                numbers = (value.year, value.month, value.day, value.hour, value.minute)
                return f"datetime({', '.join(map(str, numbers))}, tzinfo=UTC)"
        return repr(value)

    @property
    def mapped(self) -> str:
        arguments = [
            *self._column_type(),
            *(["index=True"] if self.field.is_indexed or self.type == "ref" else []),
            *([f"default={self.default}"] if self.default else []),
        ]
        column = f" = mapped_column({', '.join(arguments)})" if arguments else ""
        return f"{self.column}: Mapped[{self.python}{self.null}]{column}"

    def _column_type(self) -> list[str]:
        match self.type:
            case "str":
                return [f"String({self.field.length})"]
            case "enum":
                return [self.enum_type]
            case "ref":
                on_delete = f', ondelete="{self._on_delete}"' if self._on_delete else ""
                return [f'ForeignKey("{self.table}.id"{on_delete})']
        return [COLUMN_TYPES[self.type]] if self.type in COLUMN_TYPES else []

    @property
    def _on_delete(self) -> str:
        if self.is_null:
            return "SET NULL"
        return "" if self.is_owned else "CASCADE"

    @property
    def comment(self) -> str:
        if self.type != "ref" or self.is_null:
            return ""
        if self.is_owned:
            return f"NO ACTION, the default: {with_article(self.target_words)} in use stays."
        return f"It goes with the {self.target_words}, who could not be deleted otherwise."

    @property
    def checks(self) -> list[tuple[str, str]]:
        """Return the conditions of the CHECK constraints, and their names."""
        field, column = self.field, self.column
        low, high = self.bounds
        if field.is_text:
            range_ = "BETWEEN 1 AND" if field.is_required else "<="
            return [(f"length({column}) {range_} {field.length}", f"{column}_length")]
        if self.type == "money":  # SQLite stores cents, so that only 0 is the same there.
            is_positive = low is not None and low >= 0
            return [(f"{column} >= 0", f"{column}_not_negative")] if is_positive else []
        if low is not None and high is not None:
            return [(f"{column} BETWEEN {low} AND {high}", f"{column}_in_range")]
        if low is not None:
            name = "not_negative" if low == 0 else "in_range"
            return [(f"{column} >= {low}", f"{column}_{name}")]
        return [(f"{column} <= {high}", f"{column}_in_range")] if high is not None else []

    @property
    def bounds(self) -> tuple[Any, Any]:
        low = self.field.at_least
        return (0 if low is None and self.type == "money" else low), self.field.at_most

    @property
    def example(self) -> str:
        if self.field.is_text:
            return f'"{self.label[: self.field.length]}"'
        return EXAMPLES.get(self.type, "")

    @property
    def alias_type(self) -> str:
        """Return the type of the field in a request, if it is more than a type of Python."""
        field, examples = self.field, f"examples=[{self.example}]"
        low, high = field.at_least, field.at_most
        match self.type:
            case "str" | "text":
                shortest = "min_length=1, " if field.is_required else ""
                longest = f"{field.length:_}" if field.length >= 10_000 else field.length
                return f"Annotated[str, Text({shortest}max_length={longest}), Field({examples})]"
            case "int" | "bigint":
                limit = "MAX_INTEGER" if self.type == "int" else "MAX_ID"
                low, high = f"-{limit}" if low is None else low, limit if high is None else high
                return f"Annotated[int, Field(ge={low}, le={high}, {examples})]"
            case "ref":
                return f"Annotated[int, Field(ge=1, le=MAX_ID, {examples})]"
            case "money" if low is None and high is None:
                return f"Annotated[Price, Field({examples})]"
            case "money":
                bounds = f"ge={low or 0}, " + (f"le={high}, " if high is not None else "")
                digits = "max_digits=12, decimal_places=2"
                return f"Annotated[Decimal, Field({bounds}{digits}, {examples}), Cents]"
            case "float":
                bounds = "".join(
                    f"{name}={value}, "
                    for name, value in (("ge", low), ("le", high))
                    if value is not None
                )
                return f"Annotated[float, Field({bounds}allow_inf_nan=False, {examples})]"
        return ""

    @property
    def is_admin_filter(self) -> bool:
        """Return whether the admin's list is filtered by the field."""
        return self.type in ADMIN_FILTERS

    @property
    def input_type(self) -> str:
        types = {"datetime": "UtcTime", "json": "JsonObject"}
        return self.alias or types.get(self.type, self.python)

    @property
    def create_line(self) -> str:
        default = " | None = None" if self.is_null else self.default and f" = {self.default}"
        return f"{self.column}: {self.input_type}{default}"

    @property
    def update_line(self) -> str:
        return f"{self.column}: {self.input_type} | MISSING{self.null} = MISSING"

    @property
    def read_line(self) -> str:
        example = f" = Field(examples=[{self.example}])" if self.example else ""
        return f"{self.column}: {self.python}{self.null}{example}"


def search_hint(texts: Sequence[Column]) -> str:
    *most, last = [f"the {each.words}" for each in texts] or [""]
    names = f"{', '.join(most)} or {last}" if most else last
    return f"Text in {names if len(names) < 60 else 'any text field'}, ignoring case."


@dataclass(frozen=True)
class ListFilter:
    name: str
    type: str
    function: str
    column: str
    field: Column


def filters_of(column: Column) -> list[ListFilter]:
    if column.type in RANGES:
        # A price of any resource is not negative, unless its bounds say so.
        is_price = column.type == "money" and column.bounds == (0, None)
        type_ = "Price" if is_price else column.input_type
        names = (("min", "at_least"), ("max", "at_most"))
        return [
            ListFilter(f"{name}_{column.column}", type_, function, column.column, column)
            for name, function in names
        ]
    if column.type in EQUALS:
        return [ListFilter(column.column, column.input_type, "equals", column.column, column)]
    return []


class Children:
    """The records that a field `lines:many(...)` adds to the resource."""

    def __init__(
        self, field: Field, resource: str, number: int, targets: Mapping[str, Target]
    ) -> None:
        name = singular_of(field.name)
        self.names = field.name
        self.words = words_of(field.name)
        self.label = self.words.capitalize()
        self.name = name
        self.Name = f"{camel(resource)}{camel(name)}"
        self.List = camel(field.name)
        self.table = f"{resource}_{field.name}"
        # A test makes three records for each reference, beside two for those of the resource.
        first = 4 * number + 3
        self.fields = [
            Column(each, self.Name, camel(name), targets.get(each.table), field.name, first)
            for each in field.children
        ]
        self.references = [each for each in self.fields if each.type == "ref"]
        self.unique = [each for each in self.fields if each.is_unique]
        self.is_owned = any(each.is_owned and not each.is_null for each in self.references)
        self.position = (
            ROW_ORDER if any(each.column == "position" for each in self.fields) else "position"
        )
        self.checks = [check for each in self.fields for check in each.checks]


class Resource:
    """A resource, with the names and the lines that the templates write."""

    def __init__(
        self,
        name: str,
        fields: Sequence[Field],
        targets: Mapping[str, Target],
        plural: str | None = None,
    ) -> None:
        self._parts = fields, targets
        self.name, self.names = name, plural or plural_of(name)
        self.Name, self.Names = camel(name), camel(self.names)
        self.words, self.names_words = words_of(name), words_of(self.names)
        self.a_name = with_article(self.words)
        many = [each for each in fields if each.type == "many"]
        self.children = [Children(each, name, n, targets) for n, each in enumerate(many)]
        self.fields = [
            Column(each, self.Name, "", targets.get(each.table))
            for each in fields
            if each.type != "many"
        ]
        self.references = [each for each in self.fields if each.type == "ref"]
        self.all_references = [each for each in self.all_fields if each.type == "ref"]
        self.targets = {targets[each.table] for each in self.all_references}

    def renamed(self, name: str) -> "Resource":
        return Resource(name, *self._parts)

    @property
    def needs(self) -> list[str]:
        """Return the features that the resource refers to."""
        return sorted({each.feature for each in self.targets if each.feature})

    @property
    def created_targets(self) -> list[Target]:
        """Return the models of which the tests make records, for the resource to refer to."""
        _, targets = self._parts
        tables = [each.table for each in self.targets if each.is_owned]
        for table in tables:  # which grows meanwhile
            tables += [parent for parent in targets[table].parents if parent not in tables]
        return [targets[table] for table in sorted(tables)]

    @property
    def all_fields(self) -> list[Column]:
        return [*self.fields, *(field for child in self.children for field in child.fields)]

    @property
    def child_constraints(self) -> list[str]:
        """Return the names of the constraints of values that are unique in a record."""
        return [
            f"uq_{child.table}_{self.name}_id_{each.column}"
            for child in self.children
            for each in child.unique
        ]

    @property
    def tables(self) -> dict[str, list[str]]:
        """Return the names of the columns of each table."""
        tables = {self.names: [each.column for each in self.fields]}
        for child in self.children:
            tables[child.table] = [f"{self.name}_id", *(each.column for each in child.fields)]
        return tables

    def context(self) -> dict[str, Any]:
        """Return the variables of the templates."""
        names = ("name", "names", "Name", "Names", "words", "names_words", "a_name")
        columns = [each.column for each in self.fields if each.is_sort]
        sorts = [*columns, "created_at", "updated_at"]
        texts = [each for each in self.fields if each.field.is_text]
        titles = [each for each in self.fields if each.type == "str" and not each.is_null]
        title = next(iter(titles), None)
        required = [each for each in self.fields if each.field.is_required]
        typed = [each for each in self.fields if each.type not in ("bool", "enum")]
        return {
            **{name: getattr(self, name) for name in names},
            "fields": self.fields,
            "all_fields": self.all_fields,
            "children": self.children,
            "children_words": " and ".join(child.words for child in self.children),
            "references": self.references,
            "referred_models": sorted((each.model, each.module) for each in self.targets),
            "all_references": self.all_references,
            "choices": [each for each in self.all_references if each.is_choice],
            "refers_to_users": any(not each.is_owned for each in self.all_references),
            "created_targets": self.created_targets,
            "optional": [each for each in self.fields if not each.field.is_required],
            "unique_names": repr([each.column for each in self.fields if each.is_unique]),
            "matching": [
                (each.name, each.field)
                for field in self.fields
                for each in filters_of(field)
                if field.type != "ref"
            ],
            "refers_to_owned": any(each.is_owned for each in self.all_references),
            "has_unique_rows": any(child.unique for child in self.children),
            "needs": self.needs,
            # A field that a form refuses to leave empty, or else one that takes no other text.
            "refused": next(iter([*required, *typed]), None),
            "times": [each for each in self.fields if each.type == "datetime"],
            "identity": self.name.replace("_", "-"),
            "unique": [each for each in self.fields if each.is_unique],
            "sorts": sorts,
            "list_sorts": ["id", *sorts],
            "sorts_fit": sum(len(each) + 5 for each in ["id", *sorts]) < 90,
            "searched": [] if self.children else texts,
            "search_hint": search_hint(texts),
            "filters": [each for field in self.fields for each in filters_of(field)],
            "title": title,
            **self._page_context(title, texts),
        }

    def _page_context(self, title: Column | None, texts: Sequence[Column]) -> dict[str, Any]:
        """Return what the pages and the admin show of a record."""
        shown = [each for each in self.fields if each is not title]
        cells = sorted(
            (each for each in shown if each.is_sort and each.type in CELLS),
            key=lambda each: CELLS.index(each.type),
        )[:MAX_CELLS]
        headings = [(title.label, "name", title.column, f"-{title.column}")] if title else []
        headings = headings or [(self.words.capitalize(), "name", "id", "-id")]
        for each in cells:
            class_ = "price" if each.is_number else "added"
            headings.append((each.label, class_, each.column, f"-{each.column}"))
        filters = [each for field in self.fields for each in filters_of(field)]
        shown_filters = [each for each in filters if each.field.type in SHOWN_FILTERS][:MAX_FILTERS]
        is_searched = bool(texts and not self.children)
        controls = [*(["q"] if is_searched else []), *(each.name for each in shown_filters)]
        number = f'_("{self.words.capitalize()} %(id)s", id={self.name}.id)'
        named = f"{self.name}.{title.column}" if title else ""
        return {
            "title_value": named or number,
            "link_value": f'{named} if {named}.strip() else _("No {title.words}")'
            if title
            else number,
            "cells": cells,
            "headings": headings,
            "badges": [each for each in shown if each.type == "enum" or each.is_checkbox],
            "summaries": [each for each in shown if each.type == "text"],
            "list_filters": shown_filters,
            "list_controls": " or ".join(f'form.get("{each}")' for each in controls) or "false",
            "admin_columns": [each.column for each in self.fields if each.type not in HIDDEN],
        }
