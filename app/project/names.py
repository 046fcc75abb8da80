"""Checks of a new resource: its names are free, and its fields are possible in this project."""

import builtins
import keyword
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy.dialects import postgresql, sqlite
from starlette.routing import Match

from app.accounts.models import User
from app.accounts.ownership import Owned
from app.core.database.models import Base, Id, Timestamps, Versioned
from app.core.database.pagination import PageQuery
from app.core.schemas import Input
from app.discovery import discover, slices
from app.main import create_app
from app.project.fields import Field, FieldError, check_name, parse_field
from app.project.resource import ROW_ORDER, Resource, Target, filters_of, singular_of

MAX_IDENTIFIER = 63  # PostgreSQL's limit
LONGEST_AFFIXES = 24  # What a constraint's name has beside those of the table and the column.
MAX_NAME_LENGTH = 20
MAX_FIELDS = 40
DIALECTS = (postgresql.dialect, sqlite.dialect)
SQL_KEYWORDS = frozenset().union(*(each.preparer.reserved_words for each in DIALECTS))
# Keywords that SQLAlchemy does not know, which a constraint cannot have as a name of a column.
SQL_KEYWORDS |= {"collation", "concurrently", "lateral", "nothing", "tablesample"}
SYSTEM_COLUMNS = {"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"}  # of PostgreSQL
# A field of this name would hide the type of the fields that come after it in the class.
TYPE_NAMES = {"bool", "date", "datetime", "dict", "float", "int", "list", "str"}
# Each form or list has these fields already, or an element with this ID, or, as for "elements" and
# "dataset", a script reads the property of the form that a field of this name would hide.
FORM_NAMES = {"before", "cursor", "form_owner", "form_time_zone", "kept_form", "once", "save"}
FORM_NAMES |= {"dataset", "elements", "mine", "selection", "theirs"}
# The query parameters of each list, of its export and of the admin's list, and what a query has as
# attributes, which a filter of this name would hide.
LIST_NAMES = {"format", "page", "page_size", "q", "search", "sort", *PageQuery.model_fields}
LIST_NAMES |= {name for name in dir(PageQuery) if name[0] != "_"}
SAMPLES: dict[type, str] = {
    bool: "False",
    int: "n",
    float: "n",
    Decimal: "Decimal(n)",
    str: "str(n)",
    bytes: 'b"x"',
    date: "date(2026, 1, n)",
    datetime: "utc_now()",
    UUID: "uuid4()",
    dict: "{}",
}


def read_resource(
    name: str, texts: Sequence[str], root: Path, plural: str | None = None
) -> Resource:
    """Return the resource that a command describes. Raise FieldError with one line for the user."""
    targets = {each.table: each for each in tables_of_models()}
    check_name(name)
    if plural is not None:
        check_name(plural)
    fields = [parse_field(text) for text in texts]
    check_fields(fields)
    for each in (*fields, *(child for field in fields for child in field.children)):
        if each.type == "ref":
            check_target(each, targets)
    resource = Resource(name, fields, targets, plural)
    check_resource(resource, targets, root)
    return resource


def tables_of_models() -> list[Target]:
    """Return the tables of all models, to which a field can refer."""
    list(discover("models"))
    return [
        Target(
            str(mapper.local_table.description),
            mapper.class_.__name__,
            mapper.class_.__module__,
            issubclass(mapper.class_, Owned),
            title_of(mapper),
            tuple(required_columns(mapper)),
            tuple(key.column.table.name for key in required_keys(mapper)),
        )
        for mapper in Base.registry.mappers
    ]


def title_of(mapper: Any) -> str:
    """Return the first column of short text that is never null, or nothing."""
    for column in mapper.local_table.columns:
        is_short = isinstance(column.type, sa.String) and not isinstance(column.type, sa.Text)
        if is_short and not isinstance(column.type, sa.Enum) and not column.nullable:
            return str(column.name)
    return ""


def required_columns(mapper: Any) -> Iterator[tuple[str, str]]:
    """Yield the columns that a new record needs, and Python code for a value of each."""
    for column in mapper.local_table.columns:
        has_value = column.primary_key or column.nullable or column.default is not None
        if not has_value and column.name != "owner_id" and column is not mapper.version_id_col:
            if column.foreign_keys:
                (key,) = column.foreign_keys
                table = key.column.table.name
                made = f"await make_{singular_of(table)}(app, owner, n)"
                yield column.name, "owner.id" if table == User.__tablename__ else made
            elif isinstance(column.type, sa.Enum):
                yield column.name, repr(column.type.enums[0])
            else:
                yield column.name, SAMPLES.get(column.type.python_type, "None")


def required_keys(mapper: Any) -> Iterator[sa.ForeignKey]:
    """Yield the foreign keys that a new record needs, beside those to users."""
    for column in mapper.local_table.columns:
        for key in column.foreign_keys:
            if not column.nullable and key.column.table.name != User.__tablename__:
                yield key


def check_fields(fields: Sequence[Field]) -> None:
    if not fields:
        raise FieldError('Name at least one field: app new resource invoice "number:str(20)"')
    check_columns(fields, base_columns())
    for field in fields:
        if field.type == "many":
            check_columns(field.children, {"id", ROW_ORDER, "owner_id"})


def base_columns() -> set[str]:
    mixins = (Owned, Timestamps, Versioned)
    return {"id", *(name for each in mixins for name in vars(each) if name[0] != "_")}


def check_columns(fields: Sequence[Field], base: Iterable[str]) -> None:
    if len(fields) > MAX_FIELDS:
        raise FieldError(f"A resource has at most {MAX_FIELDS} fields.")
    columns = [f"{field.name}_id" if field.type == "ref" else field.name for field in fields]
    for column, count in Counter(columns).items():
        if reason := reason_against(column, base):
            raise FieldError(f"{column!r} cannot be a field: {reason}.")
        if count > 1:
            raise FieldError(f"The field {column!r} is listed twice.")


def reason_against(column: str, base: Iterable[str]) -> str | None:
    """Return why a field cannot have this name, if it cannot."""
    checks = {
        "every resource has it already": column in base,
        "it is a keyword of Python": keyword.iskeyword(column),
        "it is a keyword of SQL": column in SQL_KEYWORDS,
        "every table of PostgreSQL has it already": column in SYSTEM_COLUMNS,
        "it is the name of a type": column in TYPE_NAMES,
        "forms and lists use this name themselves": column in FORM_NAMES,
        "models and schemas use this name themselves": hasattr(Base, column)
        or hasattr(Input, column)
        or column.startswith("model_"),
    }
    return next((reason for reason, is_true in checks.items() if is_true), None)


def check_target(field: Field, targets: Mapping[str, Target]) -> None:
    tables = [
        target.table
        for target in targets.values()
        if target.module.removesuffix(".models") in slices()
        and isinstance(Base.metadata.tables[target.table].columns.get("id", sa.column("")).type, Id)
    ]
    if field.table not in tables:
        raise FieldError(
            f"{field.name}: there is no table {field.table!r} to refer to. The tables:"
            f" {', '.join(sorted(tables))}."
        )


def check_resource(resource: Resource, targets: Mapping[str, Target], root: Path) -> None:
    name, names = resource.name, resource.names
    if len(names) > MAX_NAME_LENGTH:
        raise FieldError(f"{names!r} is too long: use up to {MAX_NAME_LENGTH} characters.")
    if name == names:
        raise FieldError(f"{name!r} has no plural of its own: pass --plural.")
    for word in (name, names):
        if keyword.iskeyword(word):
            raise FieldError(f"{word!r} is a keyword of Python.")
        if hasattr(builtins, word):
            raise FieldError(f"{word!r} is taken: Python has a function or a type of this name.")
    if names in SQL_KEYWORDS:
        raise FieldError(f"{names!r} is a keyword of SQL.")
    for folder in ("app/features", "tests/features"):
        if (root / folder / names).exists():
            raise FieldError(f"{names!r} is taken: there is a folder {folder}/{names}.")
    if names in {each.rpartition(".")[2] for each in slices()} | {"web"}:
        raise FieldError(f"{names!r} is taken: there is a slice of this name.")
    for table, columns in resource.tables.items():
        if table in Base.metadata.tables:
            raise FieldError(f"{table!r} is taken: there is a table of this name.")
        longest = max(columns, key=len, default="")
        if len(table) + len(longest) > MAX_IDENTIFIER - LONGEST_AFFIXES:
            raise FieldError(
                f"The names {table} and {longest} have more than"
                f" {MAX_IDENTIFIER - LONGEST_AFFIXES} characters together, which is too much for"
                " the names of indexes."
            )
    for constraint in resource.child_constraints:
        if len(constraint) > MAX_IDENTIFIER:
            raise FieldError(
                f"The name {constraint} of a constraint has more than {MAX_IDENTIFIER} characters:"
                " choose shorter names."
            )
    compared = {f"{each.column}_op" for each in resource.fields if each.is_admin_filter}
    for field in resource.fields:
        filters = {each.name for each in filters_of(field)}
        filters |= {field.column} if field.is_admin_filter else set()
        for parameter in sorted(filters & (LIST_NAMES | compared)):
            raise FieldError(
                f"{field.name!r} cannot be a field of the type {field.type}: lists have a parameter"
                f" {parameter!r} already."
            )
    in_code = [each.referred for each in resource.all_references]
    in_forms = [each.choice_key for each in resource.all_references]
    for names_used in (in_code, in_forms):
        for word in names_used:
            if names_used.count(word) > 1:
                raise FieldError(f"Two references lead to the name {word!r}: rename one of them.")
    models = {target.model for target in targets.values()}
    for model in (resource.Name, *(child.Name for child in resource.children)):
        if model in models:
            raise FieldError(f"{model!r} is taken: there is a model of this name.")
    app = create_app()
    for path in (f"/{names}", f"/api/v1/{names}"):
        if is_served(app, path):
            raise FieldError(f"{names!r} is taken: the application has a page {path}.")
    taken = endpoints_of(resource) & {route.name for route in iter_route_contexts(app.routes)}
    for endpoint in sorted(taken):
        raise FieldError(f"{name!r} is taken: the application has an endpoint {endpoint!r}.")


def endpoints_of(resource: Resource) -> set[str]:
    """Return the names of the endpoints of the API and of the pages."""
    of_one = (
        *("read", "replace", "update", "create", "delete"),
        *("show", "show_new", "save", "show_delete"),
    )
    of_all = (
        *("list", "export", "watch", "create"),
        *("show", "delete", "show_delete", "undo_delete"),
    )
    return {f"{verb}_{resource.name}" for verb in of_one} | {
        f"{verb}_{resource.names}" for verb in of_all
    }


def is_served(app: FastAPI, path: str) -> bool:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "headers": [],
    }
    scope |= {"query_string": b"", "app": app}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.routes)
